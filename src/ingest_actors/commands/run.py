"""`run`: the service, with its signals, its HTTP server and its first and last log lines."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import trio

from ingest_actors.commands.endings import EXIT_CLEAN, EXIT_FAILURE, exit_code_of, told
from ingest_actors.commands.output import program_version
from ingest_actors.commands.reloading import Reloader, Reread
from ingest_actors.commands.signals import obey_signals
from ingest_actors.console.http import serve_http
from ingest_actors.errors import IngestError, SecondWriter
from ingest_actors.logs import get_logger
from ingest_actors.proxies import Proxies
from ingest_actors.service import DrainTimedOut, Service, StopReport
from ingest_actors.settings import Settings


async def run_service(
    settings: Settings,
    *,
    make: Callable[[Settings], Service] = Service,
    reread: Callable[[], Reread] | None = None,
) -> int:
    """Run one service until it is stopped or fails; never raises for what ends it.

    Args:
        settings: all that is needed.
        make: makes the service.
        reread: reads the settings again upon SIGHUP; None = that needs a restart.

    Returns:
        The exit code.
    """
    log = get_logger()
    proxies = Proxies()
    by_proxy = {"proxies": proxies.shown()} if proxies.given else {}
    log.info("service_started", version=program_version(), pid=os.getpid(), settings=settings.describe(), **by_proxy)
    for warning in (*settings.warnings(), *proxies.warnings()):
        log.warning("settings_warning", warning=warning)
    service = make(settings)
    signals: list[signal.Signals] = []
    error: BaseException | None = None
    try:
        await _run_with_company(service, settings, signals.append, reread)
    except Exception as failure:  # noqa: BLE001 - whatever it is, it is told below
        error = told(failure)
    exit_code = _exit_code(service, error)
    if error is not None and not isinstance(error, IngestError):
        log.error("service_crashed", exc_info=error)
    _tell_stopped(service, signals, error, exit_code)
    return exit_code


async def _run_with_company(
    service: Service,
    settings: Settings,
    told: Callable[[signal.Signals], None],
    reread: Callable[[], Reread] | None,
) -> None:
    """The service, those who look at it, and the signals that end or change it."""
    reloader = None if reread is None else Reloader(service, reread)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                obey_signals,
                stop=service.stop,
                cancel=service.cancel,
                told=partial(_tell, told),
                reload=None if reloader is None else reloader.ask,
            )
        )
        if reloader is not None:
            nursery.start_soon(reloader.run)
        if settings.http_port is not None:
            url = await nursery.start(
                partial(
                    serve_http,
                    service.status,
                    host=settings.http_host,
                    port=settings.http_port,
                    token=settings.http_token.get_secret_value() if settings.http_token else None,
                    instance=settings.instance_name,
                )
            )
            get_logger().info("http_listening", url=url)
        nursery.start_soon(_tell_ready, service)
        await service.run()
        nursery.cancel_scope.cancel()


async def _tell_ready(service: Service) -> None:
    if await service.wait_ready():
        get_logger().info("service_ready")


def _tell(told: Callable[[signal.Signals], None], number: signal.Signals) -> None:
    get_logger().info("stop_asked", signal=number.name)
    told(number)


def _exit_code(service: Service, error: BaseException | None) -> int:
    if error is not None:
        return exit_code_of(error)
    clean = service.report is not None and service.report.reason == "stopped"
    return EXIT_CLEAN if clean else EXIT_FAILURE


def _tell_stopped(service: Service, signals: list[signal.Signals], error: BaseException | None, exit_code: int) -> None:
    """THE last line: why, with which exit code, and what became of the events."""
    report = service.report
    fields: dict[str, Any] = {"reason": report.reason if report and error is None else "failed", "exit_code": exit_code}
    if signals:
        fields["signals"] = [number.name for number in signals]
    if error is not None:
        fields["error"] = str(error) or repr(error)
        fields["error_type"] = type(error).__name__
    if report is not None:
        fields["ledger"] = asdict(report.ledger)
        fields["unfinished"] = list(report.unfinished)
        fields["left"] = report.left or {}
        hint = _hint(error, report)
        if hint:
            fields["hint"] = hint
    log = get_logger()
    (log.info if exit_code == EXIT_CLEAN else log.error)("service_stopped", **fields)


def _hint(error: BaseException | None, report: StopReport) -> str:
    """What becomes of that which is in flight, and what to do."""
    if isinstance(error, SecondWriter):
        return (
            "do not restart this one: the other process goes on, and brings what was in flight here; if two are meant"
            " to run, give each an INSTANCE_NAME of its own"
        )
    if isinstance(error, DrainTimedOut):
        return (
            "what was in flight is in Kafka or not; the next start goes on from what is, and brings the trades. Look"
            " whether Kafka answers, or allow more: SHUTDOWN_TIMEOUT_SECONDS"
        )
    if report.ledger.in_flight:
        return "what was in flight is in Kafka or not; the next start goes on from what is, and brings the trades"
    return ""
