"""The service for the length of a block, in asyncio and trio programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import sniffio
import trio

from ingest_actors.announce import EVENTS_WAITING_MAX, ServiceEvent
from ingest_actors.embedding.client import IngestClient
from ingest_actors.embedding.serving import Ingest, serve
from ingest_actors.nursery import most_telling, open_nursery, raise_alone
from ingest_actors.protocols import Sink
from ingest_actors.settings import Settings
from ingest_actors.status import Status


@asynccontextmanager
async def open_ingest(settings: Settings, *, sink: Sink | None = None) -> AsyncIterator[Ingest | AsyncIngest]:
    """The service for the length of a block, in an asyncio or a trio program.

    Under asyncio the service runs in a thread of its own, and the handle's methods cross over to it; a sink runs
    there too, under trio. The block is cancelled when the service fails, and the `IngestError` comes out of it bare.

    Leaving the block drains and stops, by an exception as well, which comes out as it is. When the block is cancelled,
    the service drains under asyncio, and stops at once under trio.

    Raises:
        IngestError: as `serve`.
    """
    if sniffio.current_async_library() == "trio":
        async with _in_this_loop(settings, sink) as ingest:
            yield ingest
    else:
        async with _in_a_thread(settings, sink) as ingest:
            yield ingest


@asynccontextmanager
async def _in_this_loop(settings: Settings, sink: Sink | None) -> AsyncGenerator[Ingest, None]:
    raised: Exception | None = None
    with _with_note_of(lambda: raised):
        async with open_nursery() as nursery:
            ingest: Ingest = await nursery.start(partial(serve, settings, sink=sink))
            try:
                yield ingest
            except Exception as error:  # noqa: BLE001 - raised again below: in the nursery it would become a group
                raised = error
            try:
                await ingest.stop()
            except trio.Cancelled:
                if raised is not None:
                    raise_alone(raised)  # a cancellation would swallow it
                raise
    if raised is not None:
        raise raised


@asynccontextmanager
async def _in_a_thread(settings: Settings, sink: Sink | None) -> AsyncGenerator[AsyncIngest, None]:
    client = IngestClient(settings, sink=sink)
    client.begin()
    raised: Exception | None = None
    try:
        await anyio.to_thread.run_sync(client.wait_begun, abandon_on_cancel=True)
        with _with_note_of(lambda: raised):
            async with anyio.create_task_group() as group:
                group.start_soon(partial(anyio.to_thread.run_sync, client.join, abandon_on_cancel=True))
                try:
                    yield AsyncIngest(client)
                except Exception as error:  # noqa: BLE001 - as above
                    raised = error
                await anyio.to_thread.run_sync(client.stop)
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True), suppress(Exception):
            await anyio.to_thread.run_sync(client.stop)
    if raised is not None:
        raise raised


@contextmanager
def _with_note_of(raised: Any) -> Iterator[None]:
    """A failure of the service comes out bare, and what the block raised besides is its note."""
    try:
        yield
    except (Exception, BaseExceptionGroup) as failure:  # noqa: BLE001 - raised again
        chosen = most_telling(failure)
        besides = raised()
        if besides is not None and besides is not chosen:
            chosen.add_note(f"and the block raised: {besides!r}")
        raise_alone(chosen)


class AsyncIngest:
    """The handle of a service that runs in another thread, for asyncio programs. Use it on the loop of its block."""

    def __init__(self, client: IngestClient) -> None:
        self._client = client

    def get_metrics(self) -> dict[str, Any]:
        """As `Ingest.get_metrics`; takes about a tenth of a millisecond."""
        return self._client.get_metrics()

    def status(self) -> Status:
        """As `Ingest.status`."""
        return self._client.status()

    async def reload(self, settings: Settings) -> None:
        """As `Ingest.reload`."""
        await anyio.to_thread.run_sync(self._client.reload, settings, abandon_on_cancel=True)

    async def wait_ready(self) -> bool:
        """As `Ingest.wait_ready`."""
        return await anyio.to_thread.run_sync(self._client.wait_ready, abandon_on_cancel=True)

    @contextmanager
    def events(self) -> Iterator[AsyncIterator[ServiceEvent]]:
        """As `Ingest.events`."""
        listener = _LoopListener()
        self._client.ask(lambda service: service.announcer.add(listener))
        try:
            yield listener
        finally:
            with suppress(Exception):  # a service that has failed forgets its listeners by itself
                self._client.ask(lambda service: service.announcer.remove(listener))

    async def stop(self) -> None:
        """Drain and stop; idempotent."""
        await anyio.to_thread.run_sync(self._client.stop)


class _LoopListener:
    """Carries events from the service's thread to an iteration on the loop that it was made on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[ServiceEvent | None] = asyncio.Queue()
        self._told = 0  # written on the service's thread alone
        self._taken = 0  # written on the loop's thread alone

    def tell(self, event: ServiceEvent) -> bool:
        if self._told - self._taken >= EVENTS_WAITING_MAX:
            return False
        self._told += 1
        self._pass(event)
        return True

    def end(self) -> None:
        self._pass(None)

    def _pass(self, event: ServiceEvent | None) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def __aiter__(self) -> AsyncIterator[ServiceEvent]:
        return self

    async def __anext__(self) -> ServiceEvent:
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)  # for whoever asks again
            raise StopAsyncIteration
        self._taken += 1
        return event
