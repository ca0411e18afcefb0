"""The service in a trio program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio

from ingest_actors.announce import ServiceEvent
from ingest_actors.nursery import open_nursery
from ingest_actors.protocols import Sink
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.status import Status


class Ingest:
    """The handle of a running service. Use it on the trio thread that runs the service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def get_metrics(self) -> dict[str, Any]:
        """What the ``service_metrics`` log line says, right now."""
        return self._service.get_metrics()

    def status(self) -> Status:
        """A full picture of the service, right now."""
        return self._service.status()

    async def reload(self, settings: Settings) -> None:
        """Take over other symbols and stream types, without a gap in what stays.

        Returns when everything that is wanted now is subscribed. `LOG_LEVEL` may differ too, but logging is the host's.

        Args:
            settings: as they shall be; all that needs a restart must be as it was.

        Raises:
            SettingsError: they cannot be taken over; everything stays as it was.
            ExchangeUnreachable, RequestRefused: the exchange could not be asked what they amount to; likewise.
        """
        await self._service.reload(settings)

    async def wait_ready(self) -> bool:
        """Wait until every planned connection is subscribed and Kafka accepts; at once when that is so.

        Returns: whether it is so; False when the service has ended instead.
        """
        return await self._service.wait_ready()

    @contextmanager
    def events(self) -> Iterator[AsyncIterator[ServiceEvent]]:
        """What happens to the service from now on.

        Use it as::

            with ingest.events() as happenings:
                async for happening in happenings: ...

        Iteration ends with the service. Up to 256 events wait for a listener; what comes after that it misses, and the
        log says so.
        """
        with self._service.announcer.listen() as happenings:
            yield happenings

    def request_stop(self) -> None:
        """Begin to drain and stop, without waiting."""
        self._service.stop()

    async def stop(self) -> None:
        """Drain and stop; returns when the service has ended. Idempotent, from any task.

        The drain is bounded by `SHUTDOWN_TIMEOUT_SECONDS`. Cancelled: the drain goes on by itself.
        """
        self._service.stop()
        await self._service.wait_stopped()


async def serve(
    settings: Settings,
    *,
    sink: Sink | None = None,
    http: bool = False,
    task_status: trio.TaskStatus[Ingest] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the service until it is stopped or fails; made for ``await nursery.start(serve, settings)``.

    Args:
        settings: see `Settings`; the environment is not read.
        sink: where the events go instead of Kafka; see `ingest_actors.Sink`. It is closed at the end.
        http: whether to answer health and metrics at `HTTP_HOST` and `HTTP_PORT`.
        task_status: gets the `Ingest` handle once every connection is subscribed and the sink answers.

    Raises:
        IngestError: it could not start, or gave up; the error names the actor or the setting.

    Cancellation: everything stops at once, without a drain. `KeyboardInterrupt` passes through.
    """
    service = Service(settings, sink=sink)
    async with open_nursery() as nursery:
        nursery.start_soon(_hand_out, service, task_status)
        if http and settings.http_port is not None:
            from ingest_actors.console.http import serve_http  # noqa: PLC0415 - a web server only for who asks

            token = None if settings.http_token is None else settings.http_token.get_secret_value()
            look = partial(
                serve_http, service.status, details=service.details, host=settings.http_host, port=settings.http_port,
                token=token, instance=settings.instance_name,
            )  # fmt: skip
            url = await nursery.start(look)
            service.announcer("http_listening", url=url)
        await service.run()
        nursery.cancel_scope.cancel()


async def _hand_out(service: Service, task_status: trio.TaskStatus[Ingest]) -> None:
    if await service.wait_ready():
        task_status.started(Ingest(service))
