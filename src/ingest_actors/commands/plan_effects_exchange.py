"""What the settings of the exchange's side bring about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ingest_actors.commands.plan_figures import Figures
from ingest_actors.settings import Settings
from ingest_actors.settings.values import size_text
from ingest_actors.sources import RECONNECT_MAX_S

WEIGHT_OF_THE_EXCHANGE: Final = 6000
"""What it gives an address a minute."""


def exchange_effects(settings: Settings, figures: Figures) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names of settings that belong together, and what they bring about."""
    yield ("binance_symbols", "binance_stream_types"), _streams(settings, figures)
    yield ("binance_ws_url", "binance_rest_url"), _endpoints(settings)
    yield ("connections_per_stream",), _connections(settings, figures)
    yield ("ws_rotate_after_seconds",), _rotation(settings)
    yield ("reconnect_interval", "max_retries"), _retries(settings)
    yield (
        ("ws_message_max_bytes",),
        (
            f"a message of more than {size_text(settings.ws_message_max_bytes)} closes its connection (code 1009); the"
            " exchange's are far smaller"
        ),
    )
    yield ("websocket_fast_path", "receive_pause_max_ms"), _reading(settings)
    yield ("stream_silence_seconds",), _silence(settings)
    yield (
        ("rest_weight_per_minute",),
        (
            f"{settings.rest_weight_per_minute} of the {WEIGHT_OF_THE_EXCHANGE} that the exchange gives this address a"
            f" minute; {figures.weight_at_start} are needed for a start"
        ),
    )
    yield ("depth_snapshot_interval_seconds", "depth_snapshot_limit"), _snapshots(settings, figures)
    yield ("backfill", "gap_hold_seconds", "gap_hold_max_events"), _backfill(settings)
    yield (
        ("resume_max_age_seconds",),
        (
            f"a restart within {settings.resume_max_age_seconds:g} s brings what was traded meanwhile; after longer it"
            " is in the gap journal as lost (`too_old`)"
        ),
    )


def _streams(settings: Settings, figures: Figures) -> str:
    text = f"{figures.streams} streams; a SIGHUP takes other ones over without a gap in what stays"
    if any("*" in symbol or "?" in symbol or "[" in symbol for symbol in settings.binance_symbols):
        text += "; new listings under a pattern are found within five minutes"
    return text


def _endpoints(settings: Settings) -> str:
    sockets, rest = len(settings.binance_ws_url), len(settings.binance_rest_url)
    if sockets == rest == 1:
        return "one address each; with several, the next one is taken when one does not answer"
    return f"{sockets} WebSocket and {rest} REST addresses, taken in turn"


def _connections(settings: Settings, figures: Figures) -> str:
    count = len(figures.connections)
    if settings.connections_per_stream == 1:
        return f"{count} connections; the loss of one costs samples for seconds, and trades come from REST"
    return f"{count} connections, every stream on two: the loss of one is not seen in the record"


def _rotation(settings: Settings) -> str:
    hours = settings.ws_rotate_after_seconds / 3600
    return (
        f"each connection is replaced, overlapping, in the last tenth of {hours:.3g} h; the exchange ends them at 24 h"
    )


def _retries(settings: Settings) -> str:
    first = f"tried again after {settings.reconnect_interval:g} s, then twice as long each time, up to 5 minutes"
    if not settings.max_retries:
        return f"{first}; never gives up"
    waits = settings.max_retries - 1
    total_s = sum(min(settings.reconnect_interval * 2**number, RECONNECT_MAX_S) for number in range(waits))
    return (
        f"{first}; gives up with exit code 75 at failure {settings.max_retries} in a row, after {total_s:g} s at the"
        " most beside the attempts' own time; 0 = never"
    )


def _reading(settings: Settings) -> str:
    if not settings.websocket_fast_path:
        return "messages are cut by trio-websocket alone: for comparison, at a fraction of the speed"
    pause = settings.receive_pause_max_ms
    return f"reading waits {pause:g} ms for more at the most, and only under a steady flow" if pause else "never waits"


def _silence(settings: Settings) -> str:
    limit = settings.stream_silence_seconds
    after = "300 s (trades, klines) or 60 s (others)" if limit is None else f"{limit:g} s"
    return f"a stream that should flow and is silent for {after} is subscribed again, then moved"


def _snapshots(settings: Settings, figures: Figures) -> str:
    if not figures.snapshots.books:
        return "no effect: no stream of book updates"
    return (
        f"{figures.snapshots.books} books of {settings.depth_snapshot_limit} levels a side, at the start, after each"
        f" hole, and every {settings.depth_snapshot_interval_seconds:g} s"
    )


def _backfill(settings: Settings) -> str:
    if not settings.backfill:
        return "nothing is fetched again: what a connection does not bring stays missing, and is journalled"
    return (
        f"missing {' and '.join(settings.backfill)} come from REST in their place, if within"
        f" {settings.gap_hold_seconds:g} s and {settings.gap_hold_max_events} events of their series; later marked"
        ' `"late":true`'
    )
