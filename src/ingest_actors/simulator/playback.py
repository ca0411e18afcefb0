"""A recording as a source of streams and of REST's answers.

Playback begins for everybody at once: when every stream of the recording is subscribed by somebody, or, with
``settled``, when some are and nothing more has been subscribed for two seconds (``first``: as soon as one is; ``all``:
only with all). It waits for the slowest subscriber, and while nobody is subscribed to anything it pauses, so nothing is
played to an empty house. What is sent to a connection that is then cut is gone, as on the exchange.
"""

from __future__ import annotations

from pathlib import Path

import trio

from ingest_actors.errors import SettingsError
from ingest_actors.recordings.lines import raw_payload, symbol_of, time_ns
from ingest_actors.simulator.clock import ExchangeClock
from ingest_actors.simulator.config import SimulatorConfig
from ingest_actors.simulator.market.symbol_names import check_status, refused_names
from ingest_actors.simulator.recorded_rest import RecordedRest
from ingest_actors.simulator.recording import Block, Recording
from ingest_actors.simulator.rest_data import RestData
from ingest_actors.simulator.session import Session
from ingest_actors.simulator.wire import text_frame

SETTLE_S = 2.0
"""How long subscriptions must rest before a recording begins of which not everything is subscribed."""

_PAUSE_MAX_NS = 60 * 10**9
"""A longer pause between two frames, or a step back, is the seam of two recordings: playback goes on at once."""


class RecordingSource:
    """Plays a recording, byte for byte and in its order, to whoever is subscribed.

    Args:
        recording: what to play.
        config: speed, start and end.
        start_us: the clock of REST at the start.
    """

    lossless = True
    events = frozenset(("set_status", "list_symbol"))

    def __init__(self, recording: Recording, config: SimulatorConfig, start_us: int) -> None:
        self.recording = recording
        self._recorded = RecordedRest(recording, history=config.history)
        self.rest: RestData = self._recorded
        self.clock = ExchangeClock(start_us, 1.0)
        self.finished = trio.Event()
        self._config = config
        self._wanted: dict[Session, set[bytes]] = {}
        self._streams = frozenset(stream.encode() for stream in recording.streams)
        self._silent: frozenset[bytes] = frozenset()
        self._changed_s = 0.0
        self._changed = trio.lowlevel.ParkingLot()
        self._file: Path | None = None
        self._origin = (0, 0.0)
        self._last_ns = 0

    def now_ms(self) -> int:
        """Wall clock: a recording's own time is told by its frames alone."""
        return self.clock.now_ms()

    def attach(self, session: Session, stream: str) -> None:
        """Send `stream` to `session` from now on; silent when the recording has none of it."""
        name = stream.encode()
        if name in self._streams:
            self._wanted.setdefault(session, set()).add(name)
            self._changed_s = trio.current_time()
            self._changed.unpark_all()

    def detach(self, session: Session, stream: str) -> None:
        """Stop that."""
        wanted = self._wanted.get(session)
        if wanted is not None:
            wanted.discard(stream.encode())
            if not wanted:
                del self._wanted[session]

    def reset_ids(self, symbol: str | None = None) -> None:
        """Not to be had: a recording is played byte for byte.

        Raises:
            SettingsError: always.
        """
        del symbol
        raise SettingsError(["reset_ids: a recording is played as it is; only the market can begin its ids again"])

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's status: REST tells it, and its frames are left out while it is not ``TRADING``.

        Raises:
            SettingsError: there is no such symbol, or no such status.
        """
        check_status(status)
        if symbol not in self._recorded.symbols():
            raise SettingsError([f"symbol {symbol!r}: is not in the recording"])
        self._recorded.set_status(symbol, status)
        streams = {name.encode() for name in self.recording.streams if symbol_of(name) == symbol}
        self._silent = self._silent - streams if status == "TRADING" else self._silent | streams

    def list_symbol(self, name: str) -> None:
        """List one more symbol in exchangeInfo; nothing will come of it.

        Raises:
            SettingsError: no symbol can have this name.
        """
        problems = refused_names([name])
        if problems:
            raise SettingsError(problems)
        self._recorded.list_symbol(name.upper())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Play, then do what was configured for the end."""
        task_status.started()
        await self._wait_for_start()
        while True:
            for path, block in self.recording.blocks():
                await self._play(path, block)
            if self._config.at_end != "loop":
                break
            self._file = None
        self.finished.set()
        if self._config.at_end == "close":
            for session in list(self._wanted):
                session.end(1001)
        await trio.sleep_forever()

    async def _wait_for_start(self) -> None:
        start_when = self._config.start_when
        while True:
            subscribed = frozenset[bytes]().union(*self._wanted.values())
            if subscribed == self._streams or (subscribed and start_when == "first"):
                return
            patience_s = self._changed_s + SETTLE_S - trio.current_time()
            if not subscribed or start_when == "all":
                await self._changed.park()
            elif patience_s <= 0:
                return
            else:
                with trio.move_on_after(patience_s):
                    await self._changed.park()

    async def _play(self, path: Path, block: Block) -> None:
        if not self._config.speed:
            await self._send(block)
            return
        times_ns = [time_ns(time) for time, _, _ in block.frames]
        if path != self._file:
            self._file = path
            self._set_origin(times_ns[0])
        sent = 0
        while sent < len(times_ns):
            due_ns = self._due_ns(times_ns[sent])
            if due_ns < times_ns[sent]:
                await trio.sleep_until(self._when(times_ns[sent]))
                continue
            end = sent + 1
            while end < len(times_ns) and self._last_ns <= times_ns[end] <= due_ns:
                self._last_ns = times_ns[end]
                end += 1
            self._last_ns = times_ns[end - 1]
            await self._send(block if end - sent == len(times_ns) else Block(block.frames[sent:end]))
            sent = end

    def _set_origin(self, at_ns: int) -> None:
        self._origin = (at_ns, trio.current_time())
        self._last_ns = at_ns

    def _due_ns(self, next_ns: int) -> int:
        """Up to which recorded time everything is due."""
        if not -_PAUSE_MAX_NS < next_ns - self._last_ns < _PAUSE_MAX_NS:
            self._set_origin(next_ns)
        origin_ns, origin_s = self._origin
        return origin_ns + int((trio.current_time() - origin_s) * self._config.speed * 1e9)

    def _when(self, at_ns: int) -> float:
        """When a recorded time is due on trio's clock; at least a tick from now, so that frames go in bulk."""
        origin_ns, origin_s = self._origin
        at_s = origin_s + (at_ns - origin_ns) / 1e9 / self._config.speed
        return max(at_s, trio.current_time() + self._config.tick_s)

    async def _send(self, block: Block) -> None:
        """Send a block to everybody, and wait until the slowest has taken most of it."""
        while not self._wanted:
            await self._changed.park()
        wanted = {session: frozenset(streams) - self._silent for session, streams in self._wanted.items()}
        for session, streams in wanted.items():
            _push(session, streams, block)
        self._recorded.published(block)
        await trio.lowlevel.checkpoint()
        for session in wanted:
            await session.wait_for_room()


def _push(session: Session, wanted: frozenset[bytes], block: Block) -> None:
    """Queue what a session wants of a block, in the session's form."""
    if session.combined and block.streams <= wanted and not session.whole_frames:
        session.push(block.wire)
        return
    chosen = [(frame, stream) for _, frame, stream in block.frames if stream in wanted]
    frames = [text_frame(frame if session.combined else raw_payload(frame, stream)) for frame, stream in chosen]
    if session.whole_frames:
        for frame, (_, stream) in zip(frames, chosen, strict=True):
            session.push(frame, stream.decode())
    elif frames:
        session.push(b"".join(frames))
