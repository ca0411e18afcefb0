"""The service in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import trio

from ingest_actors.nursery import open_nursery
from ingest_actors.protocols import Sink
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.status import Status

T = TypeVar("T")


class IngestClient:
    """The service in a thread of its own, for programs without an event loop.

    Args:
        settings: see `Settings`.
        sink: as for `serve`; it runs on the service's thread.

    Every method may be called from any thread but the service's own. The thread is a daemon: a program that ends
    without `stop` does not wait for it, and what is in flight is lost.
    """

    def __init__(self, settings: Settings, *, sink: Sink | None = None) -> None:
        self._settings = settings
        self._sink = sink
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._settled = threading.Event()
        self._ready = False
        self._stop_asked = threading.Event()
        self._service: Service | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._failure: BaseException | None = None

    def start_in_background(self) -> threading.Thread:
        """Start, wait until the service is ready, and return its thread.

        Raises:
            IngestError: the service could not start.
            RuntimeError: it was started before, or stopped by another thread before it was ready.
        """
        thread = self.begin()
        self.wait_begun()
        return thread

    def begin(self) -> threading.Thread:
        """Start without waiting. Raises RuntimeError when it was started before."""
        with self._lock:
            if self._thread is not None:
                raise RuntimeError("an IngestClient starts once; make another one")
            thread = threading.Thread(target=self._run, name=f"ingest {self._settings.instance_name}", daemon=True)
            thread.start()
            self._thread = thread
        return thread

    def wait_begun(self) -> None:
        """Wait until the service is ready. Raises as `start_in_background`."""
        self._settled.wait()
        self._check()
        if not self._ready:
            raise RuntimeError("the service was stopped before it was ready")

    def get_metrics(self) -> dict[str, Any]:
        """As `Ingest.get_metrics`; after the end, the last figures.

        Raises:
            IngestError: the service has failed.
            RuntimeError: it was not started.
        """
        return self.ask(Service.get_metrics)

    def status(self) -> Status:
        """As `Ingest.status`; raises as `get_metrics` does."""
        return self.ask(Service.status)

    def reload(self, settings: Settings) -> None:
        """As `Ingest.reload`; raises as `get_metrics` does, besides.

        Raises:
            RuntimeError: the service has ended.
        """
        self._check()
        service, token = self._service, self._token
        if service is None or token is None:
            raise RuntimeError("the service is not running: call start_in_background() first")
        try:
            trio.from_thread.run(service.reload, settings, trio_token=token)
        except (trio.RunFinishedError, trio.Cancelled):
            self._check()
            raise RuntimeError("the service has ended") from None

    def stop(self, timeout_s: float | None = None) -> None:
        """Drain, stop and wait for the thread; idempotent, and possible before the service is ready.

        Args:
            timeout_s: longest to wait for the thread, seconds; None = as long as it takes, which
                `SHUTDOWN_TIMEOUT_SECONDS` bounds.

        Raises:
            IngestError: the service had failed, or its drain did not finish in time.
            TimeoutError: the thread still runs; the drain goes on.
        """
        with self._lock:
            thread = self._thread
        if thread is None:
            return
        self._stop_asked.set()
        service, token = self._service, self._token
        if service is not None and token is not None:  # otherwise the thread looks at the flag when it gets there
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(service.stop)
        thread.join(timeout_s)
        if thread.is_alive():
            raise TimeoutError(f"the service did not stop within {timeout_s} s")
        self._check()

    def join(self) -> None:
        """Wait until the service has ended, however that comes about.

        Raises:
            IngestError: it has failed.
        """
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        self._check()

    def ask(self, question: Callable[[Service], T]) -> T:
        """Have something asked of the service, on its own thread. Raises as `get_metrics`."""
        self._check()
        service, token = self._service, self._token
        if service is None or token is None:
            raise RuntimeError("the service is not running: call start_in_background() first")
        try:
            if self._thread is not None and self._thread.is_alive():
                return trio.from_thread.run_sync(question, service, trio_token=token)
        except trio.RunFinishedError:
            self._check()
        return question(service)  # nothing changes any more

    async def _wait_ready(self) -> bool:
        assert self._service is not None
        return await self._service.wait_ready()

    def wait_ready(self) -> bool:
        """As `Ingest.wait_ready`. Raises as `get_metrics`."""
        self._check()
        token = self._token
        if token is None:
            raise RuntimeError("the service is not running: call start_in_background() first")
        try:
            return trio.from_thread.run(self._wait_ready, trio_token=token)
        except (trio.RunFinishedError, trio.Cancelled):
            self._check()
            return False

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as failure:  # noqa: BLE001 - it is handed to whoever asks next
            self._failure = failure
        finally:
            self._settled.set()

    async def _main(self) -> None:
        self._service = service = Service(self._settings, sink=self._sink)
        self._token = trio.lowlevel.current_trio_token()
        if self._stop_asked.is_set():
            service.stop()
        async with open_nursery() as nursery:
            nursery.start_soon(self._tell_ready, service)
            await service.run()
            nursery.cancel_scope.cancel()

    async def _tell_ready(self, service: Service) -> None:
        if await service.wait_ready():
            self._ready = True
            self._settled.set()
