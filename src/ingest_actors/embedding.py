"""The service inside other programs: `serve` for trio, `open_ingest` for asyncio as well, `IngestClient` for threads.

Embedded there is no signal handler, no logging set-up, no HTTP server and no global state; several services run in one
process. A failure reaches the host as one `IngestError`.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import sniffio
import trio

from ingest_actors.announce import ServiceEvent
from ingest_actors.nursery import most_telling, open_nursery
from ingest_actors.protocols import Sink
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.status import Status

T = TypeVar("T")


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

    async def wait_ready(self) -> None:
        """Wait until every planned connection is subscribed and Kafka accepts."""
        await self._service.wait_ready()

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
                serve_http, service.status, host=settings.http_host, port=settings.http_port, token=token,
                instance=settings.instance_name,
            )  # fmt: skip
            await nursery.start(look)
        await service.run()
        nursery.cancel_scope.cancel()


async def _hand_out(service: Service, task_status: trio.TaskStatus[Ingest]) -> None:
    await service.wait_ready()
    task_status.started(Ingest(service))


class IngestClient:
    """The service in a thread of its own, for programs without an event loop.

    Args:
        settings: see `Settings`.
        sink: as for `serve`; it runs on the service's thread.

    Every method may be called from any thread.
    """

    def __init__(self, settings: Settings, *, sink: Sink | None = None) -> None:
        self._settings = settings
        self._sink = sink
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._ingest: Ingest | None = None
        self._failure: BaseException | None = None

    def start_in_background(self) -> threading.Thread:
        """Start, wait until the service is ready, and return its thread.

        Raises:
            IngestError: the service could not start.
            RuntimeError: it was started before.
        """
        if self._thread is not None:
            raise RuntimeError("an IngestClient starts once; make another one")
        self._thread = threading.Thread(target=self._run, name=f"ingest {self._settings.instance_name}", daemon=True)
        self._thread.start()
        self._started.wait()
        self._check()
        return self._thread

    def get_metrics(self) -> dict[str, Any]:
        """As `Ingest.get_metrics`.

        Raises:
            IngestError: the service has failed.
            RuntimeError: it is not running.
        """
        return self._call(lambda ingest: ingest.get_metrics())

    def status(self) -> Status:
        """As `Ingest.status`; raises as `get_metrics` does."""
        return self._call(lambda ingest: ingest.status())

    def stop(self, timeout_s: float | None = None) -> None:
        """Drain, stop and wait for the thread; idempotent.

        Args:
            timeout_s: longest to wait for the thread, seconds; None = as long as it takes, which
                `SHUTDOWN_TIMEOUT_SECONDS` bounds.

        Raises:
            IngestError: the service had failed, or its drain did not finish in time.
            TimeoutError: the thread still runs; the drain goes on.
        """
        thread, token, ingest = self._thread, self._token, self._ingest
        if thread is None:
            return
        if token is not None and ingest is not None and thread.is_alive():
            service = ingest
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(service.request_stop)
        thread.join(timeout_s)
        if thread.is_alive():
            raise TimeoutError(f"the service did not stop within {timeout_s} s")
        self._check()

    def join(self) -> None:
        """Wait until the service has ended, however that comes about.

        Raises:
            IngestError: it has failed.
        """
        if self._thread is not None:
            self._thread.join()
        self._check()

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as failure:  # noqa: BLE001 - it is handed to whoever asks next
            self._failure = failure
        finally:
            self._started.set()

    async def _main(self) -> None:
        async with open_nursery() as nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._ingest = await nursery.start(partial(serve, self._settings, sink=self._sink))
            self._started.set()

    def _call(self, question: Callable[[Ingest], T]) -> T:
        self._check()
        token, ingest = self._token, self._ingest
        if token is None or ingest is None:
            raise RuntimeError("the service is not running: call start_in_background() first")
        try:
            return trio.from_thread.run_sync(question, ingest, trio_token=token)
        except trio.RunFinishedError:
            self._check()
            raise RuntimeError("the service has stopped") from None

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure


@asynccontextmanager
async def open_ingest(settings: Settings, *, sink: Sink | None = None) -> AsyncIterator[Ingest | AsyncIngest]:
    """The service for the length of a block, in an asyncio or a trio program.

    Under asyncio the service runs in a thread of its own, and the handle's methods cross over to it; a sink runs
    there too, under trio. The block is cancelled when the service fails, and the `IngestError` comes out of it bare.
    Leaving the block drains and stops; leaving it by an exception of its own or by cancellation stops too.

    Raises:
        IngestError: as `serve`.
    """
    if sniffio.current_async_library() == "trio":
        async with open_nursery() as nursery:
            ingest: Ingest = await nursery.start(partial(serve, settings, sink=sink))
            yield ingest
            await ingest.stop()
        return
    client = IngestClient(settings, sink=sink)
    try:
        await anyio.to_thread.run_sync(client.start_in_background)
        async with _watched(client):
            yield AsyncIngest(client)
    finally:
        with anyio.CancelScope(shield=True), suppress(Exception):
            await anyio.to_thread.run_sync(client.stop)


class AsyncIngest:
    """The handle of a service that runs in another thread, for asyncio programs."""

    def __init__(self, client: IngestClient) -> None:
        self._client = client

    def get_metrics(self) -> dict[str, Any]:
        """As `Ingest.get_metrics`; takes about a tenth of a millisecond."""
        return self._client.get_metrics()

    def status(self) -> Status:
        """As `Ingest.status`."""
        return self._client.status()

    async def stop(self) -> None:
        """Drain and stop; idempotent."""
        await anyio.to_thread.run_sync(self._client.stop)


@asynccontextmanager
async def _watched(client: IngestClient) -> AsyncIterator[None]:
    """Cancel the block when the service ends by itself, and raise its error bare."""
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(anyio.to_thread.run_sync, client.join, abandon_on_cancel=True))
            yield
            await anyio.to_thread.run_sync(client.stop)
            group.cancel_scope.cancel()
    except BaseExceptionGroup as failures:
        raise most_telling(failures) from None
