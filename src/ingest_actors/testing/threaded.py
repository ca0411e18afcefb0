"""A simulated exchange in a thread of its own, for tests of any kind."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sniffio
import trio

from ingest_actors.errors import IngestError
from ingest_actors.nursery import most_telling
from ingest_actors.simulator import SimulatorConfig
from ingest_actors.simulator.fault_run import Fired
from ingest_actors.simulator.faults import Action, Fault
from ingest_actors.simulator.rest_data import AggregateRow, TradeRow
from ingest_actors.testing.exchange import WAIT_MAX_S, ClientConnection, Exchange, config_of, open_exchange
from ingest_actors.testing.oracle import Book

T = TypeVar("T")

START_MAX_S = 30.0
"""Longest that the exchange may take until it serves; a second is usual, and a busy machine takes more."""
ANSWER_MAX_S = 15.0
"""Longest that its thread may take to answer, beside what is waited for; a millisecond is usual."""
END_MAX_S = 15.0
"""Longest that it may take to end; half a second is usual."""


class ExchangeFailed(IngestError):
    """The simulated exchange itself has failed, or does not answer. The reason is its `__cause__`."""


class ThreadedExchange:
    """A simulated exchange in a thread of its own. Every method may be called from any thread but that one.

    The methods are those of `Exchange`. Those named ``wait_for_...`` block: on the thread of an event loop they would
    keep the client that they wait for from doing anything, so there they raise RuntimeError. In asyncio tests, write
    ``await asyncio.to_thread(exchange.wait_for_connections, 1)``.

    All methods raise `ExchangeFailed` when the exchange has failed, and RuntimeError when it has been closed.

    Attributes:
        config: what it was started with.
        ws_url: base of the stream URLs; empty without a WebSocket server.
        rest_url: base of the REST URLs; empty without a REST server.
        ca_file: certificate of the authority that clients are to trust; None without TLS.
    """

    def __init__(self, config: SimulatorConfig | None = None, **changes: Any) -> None:
        self.config = config_of(config, changes)
        self.ws_url = ""
        self.rest_url = ""
        self.ca_file: Path | None = None
        self._started: Future[None] = Future()
        self._lock = threading.Lock()
        self._asked: set[Future[Any]] = set()
        self._failure: BaseException | None = None
        self._exchange: Exchange | None = None
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._run, name="simulated exchange", daemon=True)

    def start(self) -> None:
        """Start the thread; return when clients can connect.

        Raises:
            SettingsError, OSError: it could not start; as `ingest_actors.simulator.open_exchange`.
            ExchangeFailed: it did not start in time.
            RuntimeError: it was started before.
        """
        self._thread.start()
        try:
            self._started.result(START_MAX_S)
        except TimeoutError:
            raise ExchangeFailed(
                f"not started after {START_MAX_S} s; its thread is at:\n{self._whereabouts()}"
            ) from None

    def close(self) -> None:
        """Cut every connection, close the ports, end the thread; harmless when that was done before.

        Raises:
            ExchangeFailed: the exchange had failed before, or its thread does not end.
        """
        if self._thread.ident is None:
            return
        nursery, token = self._nursery, self._token
        if nursery is not None and token is not None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(nursery.cancel_scope.cancel)
        self._thread.join(END_MAX_S)
        if self._thread.is_alive():
            raise ExchangeFailed(f"not ended after {END_MAX_S} s; its thread is at:\n{self._whereabouts()}")
        if self._failure is not None:
            raise self._gone()

    def now_ms(self) -> int:
        """As `Exchange.now_ms`."""
        return self._ask(Exchange.now_ms)

    def connections(self) -> list[ClientConnection]:
        """As `Exchange.connections`."""
        return self._ask(Exchange.connections)

    def subscriptions(self) -> set[str]:
        """As `Exchange.subscriptions`."""
        return self._ask(Exchange.subscriptions)

    @property
    def fired(self) -> list[Fired]:
        """As `Exchange.fired`."""
        return self._ask(lambda exchange: exchange.fired)

    def inflict(self, fault: Fault | Action) -> None:
        """As `Exchange.inflict`."""
        self._ask(Exchange.inflict, fault)

    def cut(self, *numbers: int) -> int:
        """As `Exchange.cut`."""
        return self._run_there(Exchange.cut, *numbers)

    def close_connections(self, code: int = 1001, reason: str = "") -> int:
        """As `Exchange.close_connections`."""
        return self._ask(Exchange.close_connections, code, reason)

    def announce_shutdown(self) -> int:
        """As `Exchange.announce_shutdown`."""
        return self._ask(Exchange.announce_shutdown)

    def book(self, symbol: str, update_id: int | None = None) -> Book:
        """As `Exchange.book`."""
        return self._ask(Exchange.book, symbol, update_id)

    def trades(self, symbol: str, first_id: int | None = None, last_id: int | None = None) -> list[TradeRow]:
        """As `Exchange.trades`."""
        return self._ask(Exchange.trades, symbol, first_id, last_id)

    def aggregate_trades(
        self, symbol: str, first_id: int | None = None, last_id: int | None = None
    ) -> list[AggregateRow]:
        """As `Exchange.aggregate_trades`."""
        return self._ask(Exchange.aggregate_trades, symbol, first_id, last_id)

    def wait_for_connections(self, count: int = 1, timeout_s: float = WAIT_MAX_S) -> list[ClientConnection]:
        """As `Exchange.wait_for_connections`; blocks."""
        return self._wait(Exchange.wait_for_connections, count, timeout_s=timeout_s)

    def wait_for_no_connections(self, timeout_s: float = WAIT_MAX_S) -> None:
        """As `Exchange.wait_for_no_connections`; blocks."""
        self._wait(Exchange.wait_for_no_connections, timeout_s=timeout_s)

    def wait_for_subscriptions(self, *streams: str, timeout_s: float = WAIT_MAX_S) -> list[ClientConnection]:
        """As `Exchange.wait_for_subscriptions`; blocks."""
        return self._wait(Exchange.wait_for_subscriptions, *streams, timeout_s=timeout_s)

    def wait_for_faults(self, count: int = 1, timeout_s: float = WAIT_MAX_S) -> list[Fired]:
        """As `Exchange.wait_for_faults`; blocks."""
        return self._wait(Exchange.wait_for_faults, count, timeout_s=timeout_s)

    # The thread's side.

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as failure:  # noqa: BLE001 - it is raised in the test's thread
            cause = most_telling(failure)
            if self._token is None:
                self._started.set_exception(cause)
            else:
                self._failure = cause
        finally:
            with self._lock:
                asked, self._asked = self._asked, set()
                self._token = None
            for future in asked:
                if not future.done():
                    future.set_exception(self._gone())

    async def _main(self) -> None:
        async with open_exchange(self.config) as exchange, trio.open_nursery() as nursery:
            self._exchange, self._nursery = exchange, nursery
            self._token = trio.lowlevel.current_trio_token()
            self.ws_url = exchange.simulated.ws_url or ""
            self.rest_url = exchange.simulated.rest_url or ""
            self.ca_file = exchange.ca_file
            self._started.set_result(None)
            await trio.sleep_forever()

    # The test's side.

    def _ask(self, method: Callable[..., T], *arguments: Any) -> T:
        """Call a method of the exchange on its thread."""
        future: Future[T] = Future()

        def answer() -> None:
            try:
                future.set_result(method(self._exchange, *arguments))
            except Exception as error:  # noqa: BLE001 - it is raised in the test's thread
                future.set_exception(error)

        return self._result(future, answer, ANSWER_MAX_S)

    def _run_there(
        self, method: Callable[..., Awaitable[T]], *arguments: Any, wait_s: float = 0.0, **options: Any
    ) -> T:
        """Run an async method of the exchange on its thread."""
        future: Future[T] = Future()

        async def work() -> None:
            try:
                future.set_result(await method(self._exchange, *arguments, **options))
            except Exception as error:  # noqa: BLE001 - it is raised in the test's thread
                future.set_exception(error)

        def begin() -> None:
            assert self._nursery is not None
            self._nursery.start_soon(work)

        return self._result(future, begin, wait_s + ANSWER_MAX_S)

    def _wait(self, method: Callable[..., Awaitable[T]], *arguments: Any, timeout_s: float) -> T:
        with suppress(sniffio.AsyncLibraryNotFoundError):
            library = sniffio.current_async_library()
            crossing = "trio.to_thread.run_sync" if library == "trio" else "asyncio.to_thread"
            name = getattr(method, "__name__", "")
            raise RuntimeError(f"{name} would block this {library} loop: await {crossing}(exchange.{name}, ...)")
        return self._run_there(method, *arguments, wait_s=timeout_s, timeout_s=timeout_s)

    def _result(self, future: Future[T], entry: Callable[[], None], patience_s: float) -> T:
        if threading.current_thread() is self._thread:
            raise RuntimeError("this is the exchange's own thread: it would wait for itself")
        with self._lock:
            token = self._token
            if token is None:
                raise self._gone()
            self._asked.add(future)
            token.run_sync_soon(entry)  # the thread clears the token under the lock, before it ends
        try:
            return future.result(patience_s)
        except TimeoutError:
            if future.done():
                raise  # what was waited for did not come
            where = self._whereabouts()
            raise ExchangeFailed(f"no answer after {patience_s} s; its thread is at:\n{where}") from None
        finally:
            with self._lock:
                self._asked.discard(future)

    def _gone(self) -> Exception:
        if self._failure is not None:
            error: Exception = ExchangeFailed(f"the simulated exchange has failed: {self._failure!r}")
            error.__cause__ = self._failure
            return error
        return RuntimeError("the simulated exchange is not running: it was closed, or not started")

    def _whereabouts(self) -> str:
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - documented, for debugging
        return "".join(traceback.format_stack(frame)) if frame else "its end"


@contextmanager
def exchange_in_thread(config: SimulatorConfig | None = None, **changes: Any) -> Iterator[ThreadedExchange]:
    """A simulated exchange in a thread of its own, for the length of a block; clients can connect on entry.

    Leaving the block cuts every connection, closes the ports and ends the thread. What the block raises comes out as
    it is; that the exchange had failed as well is then its note.

    Args:
        config: what to simulate; the default is five symbols in real time on free ports.
        changes: fields of `config` to be changed; `faults` may be a list of faults.

    Raises:
        TypeError: there is no such field.
        SettingsError, OSError: as `ingest_actors.simulator.open_exchange`.
        ExchangeFailed: it failed meanwhile, or did not start or end in time.
    """
    exchange = ThreadedExchange(config, **changes)
    try:
        exchange.start()
        yield exchange
    except BaseException as raised:
        try:
            exchange.close()
        except ExchangeFailed as failure:
            raised.add_note(f"and: {failure}" + (f": {failure.__cause__!r}" if failure.__cause__ else ""))
        raise
    exchange.close()
