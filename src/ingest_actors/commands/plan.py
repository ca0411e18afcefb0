"""`plan`: what the settings amount to, checked against the exchange and the brokers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import httpx
import trio

from ingest_actors.commands import plan_brokers, plan_exchange
from ingest_actors.commands.endings import EXIT_FAILURE
from ingest_actors.commands.output import say
from ingest_actors.commands.plan_brokers import Brokers, Topic, ask_brokers
from ingest_actors.commands.plan_effects import effects
from ingest_actors.commands.plan_exchange import Exchange, ask_exchange
from ingest_actors.commands.plan_figures import Figures, figures
from ingest_actors.commands.plan_findings import Findings, judge
from ingest_actors.commands.plan_tables import say_plan
from ingest_actors.commands.signals import run_until_stopped
from ingest_actors.nursery import open_nursery
from ingest_actors.settings import Settings
from ingest_actors.websocket.connect import Connector


def plan(
    settings: Settings,
    *,
    offline: bool,
    as_json: bool,
    connect: Connector | None = None,
    rest_transport: httpx.AsyncBaseTransport | None = None,
) -> int:
    """Make a plan and say it. Nothing is changed anywhere.

    Args:
        settings: what is planned.
        offline: ask nobody.
        as_json: one JSON object instead of tables.
        connect: the way to the WebSocket endpoints; None = the network.
        rest_transport: the way to the REST interface; None = the network.

    Returns:
        The exit code: see `Findings`.

    Raises:
        SettingsError: a file that the settings name cannot be read.
    """
    exchange, brokers = plan_exchange.unasked(settings), plan_brokers.unasked(settings)

    async def ask() -> None:
        nonlocal exchange, brokers

        async def of_exchange() -> None:
            nonlocal exchange
            exchange = await ask_exchange(settings, connect=connect, rest_transport=rest_transport)

        async def of_brokers() -> None:
            nonlocal brokers
            brokers = await ask_brokers(settings)

        async with open_nursery() as nursery:
            nursery.start_soon(of_exchange)
            nursery.start_soon(of_brokers)

    if not offline:
        trio.run(run_until_stopped, ask)
        if not exchange.rest:  # a signal ended the asking
            return EXIT_FAILURE
    amounts = figures(settings, exchange.symbols.streams, asked_twice=bool(exchange.symbols.unlisted))
    findings = judge(settings, amounts, exchange, brokers)
    if as_json:
        say(json.dumps(as_dict(settings, amounts, exchange, brokers, findings)))
    else:
        say_plan(settings, amounts, exchange, brokers, findings)
    return findings.exit_code


def as_dict(
    settings: Settings, amounts: Figures, exchange: Exchange, brokers: Brokers, findings: Findings
) -> dict[str, Any]:
    """A plan as one object for programs."""
    symbols = exchange.symbols
    carried = amounts.connections
    return {
        "ok": findings.exit_code == 0,
        "exit_code": findings.exit_code,
        "problems": list(findings.problems),
        "not_asked": list(findings.unasked),
        "warnings": list(findings.warnings),
        "symbols": {
            "wanted": list(symbols.wanted),
            "found": symbols.found,
            "unlisted": symbols.unlisted,
            "not_trading": symbols.not_trading,
            "unexpanded": list(symbols.unexpanded),
        },
        "streams": {"count": amounts.streams, "by_type": amounts.by_type},
        "connections": {
            "count": len(carried),
            "streams": [connection.streams for connection in carried],
            "open_s": amounts.open_s,
            "attempts_max": amounts.attempts_max,
            "attempts_period_s": amounts.attempts_period_s,
        },
        "subscriptions": {
            "messages": sum(connection.messages for connection in carried),
            "bytes": sum(connection.size_bytes for connection in carried),
            "message_bytes_max": max((connection.message_bytes_max for connection in carried), default=0),
            "seconds_of_one_connection_max": max((connection.subscribe_s for connection in carried), default=0.0),
        },
        "ready_s": amounts.ready_s,
        "rest_weight": {
            "at_start": amounts.weight_at_start,
            "per_minute_max": amounts.weight_a_minute,
            "book_snapshots": asdict(amounts.snapshots),
            "set_per_minute": settings.rest_weight_per_minute,
            "used_this_minute": exchange.used_weight,
        },
        "memory": {"buffer_max_bytes": settings.buffer_max_bytes} | amounts.memory,
        "exchange": {
            "rest": [asdict(endpoint) for endpoint in exchange.rest],
            "websocket": [asdict(endpoint) for endpoint in exchange.websockets],
            "clock_offset_ms": exchange.clock_offset_ms,
            "round_trip_ms": exchange.round_trip_ms,
        },
        "brokers": {
            "servers": brokers.servers,
            "asked": brokers.asked,
            "reachable": brokers.reachable,
            "cause": brokers.cause,
            "hint": brokers.hint,
            "count": brokers.count,
            "unwritable": list(brokers.unwritable),
            "unreadable": list(brokers.unreadable),
        },
        "topics": [_topic(topic) for topic in brokers.topics],
        "settings": [asdict(effect) for effect in effects(settings, amounts, brokers)],
    }


def _topic(topic: Topic) -> dict[str, Any]:
    return asdict(topic) | {"drift": [drift._asdict() for drift in topic.drift]}
