"""What waits to be sent to one client, and how that client wants it."""

from __future__ import annotations

import trio

from ingest_actors.simulator.control import ControlState
from ingest_actors.simulator.fault_frames import split_frames, stream_of

LOW_WATER_BYTES = 1024 * 1024
"""A recording waits for a reader with more than this outstanding."""


class Session:
    """The sending side of one connection. A stream's source pushes frames; the connection's sender takes them.

    Args:
        number: of the connection, from 1 in the order of handshakes.
        control: what it is subscribed to and in which form.
        microseconds: whether times are wanted in microseconds.
        phase_us: where in each interval this connection's order book events are cut, 0 to 99,999 us.
        outbox_bytes_max: most that may wait for a reader of the live market; more cuts the connection off.
        lossless: whether the source waits for this reader (recordings), so that it is never cut off.
    """

    def __init__(
        self,
        number: int,
        control: ControlState,
        *,
        microseconds: bool = False,
        phase_us: int = 0,
        outbox_bytes_max: int = 8 * 1024 * 1024,
        lossless: bool = False,
    ) -> None:
        self.number = number
        self.control = control
        self.microseconds = microseconds
        self.phase_us = phase_us
        self.whole_frames = False
        """Whether frames are wanted one by one, with their streams: something counts or changes them."""
        self.ended = trio.Event()
        self.verdict: int | None = None
        self._outbox_bytes_max = outbox_bytes_max
        self._lossless = lossless
        self._control: list[bytes] = []
        self._frames: list[bytes] = []
        self._streams: list[str] = []
        self._woken = False
        self._waiting_bytes = 0
        self._leaving_bytes = 0
        self._closed = False
        self._sent = trio.lowlevel.ParkingLot()
        self._work = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    @property
    def combined(self) -> bool:
        """Whether events are wrapped with their stream's name."""
        return self.control.combined

    @property
    def outstanding_bytes(self) -> int:
        """What waits to be sent or is being sent."""
        return self._waiting_bytes + self._leaving_bytes

    def push(self, frame: bytes, stream: str = "") -> None:
        """Queue one data frame, or (unless `whole_frames`) several joined; of `stream`, when there is one."""
        if self._closed:
            return
        self._frames.append(frame)
        if self.whole_frames:
            self._streams.append(stream)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._outbox_bytes_max and not self._lossless:
            self.close()
            self.end(None)
        elif self._work:
            self._work.unpark()

    def push_control(self, frame: bytes) -> None:
        """Queue a frame that goes before all data that waits."""
        self._control.append(frame)
        if self._work:
            self._work.unpark()

    def watch_frames(self, *, wanted: bool) -> None:
        """From now on, frames are wanted one by one, with their streams, or no longer; those that wait are included."""
        if wanted and not self.whole_frames:
            self._frames = [frame for joined in self._frames for frame in split_frames(joined)]
            self._streams = [stream_of(frame) for frame in self._frames]
        elif not wanted:
            self._streams.clear()
        self.whole_frames = wanted

    def wake(self) -> None:
        """Let `take` return, with nothing if need be."""
        self._woken = True
        self._work.unpark_all()

    async def take(self) -> tuple[list[bytes], list[bytes], list[str]]:
        """Take all that waits: control frames, data frames, and (when `whole_frames`) the streams of these.

        Waits until there is something, or `wake` is called. What was taken before counts as sent. Cancelled: nothing
        was taken.
        """
        self._leaving_bytes = 0
        if not self._control and not self._frames:
            self._sent.unpark_all()
        if self._room and self.outstanding_bytes <= LOW_WATER_BYTES:
            self._room.unpark_all()
        while not self._control and not self._frames and not self._woken:
            await self._work.park()
        self._woken = False
        control, self._control = self._control, []
        frames, self._frames = self._frames, []
        streams, self._streams = self._streams, []
        self._leaving_bytes, self._waiting_bytes = self._waiting_bytes, 0
        return control, frames, streams

    async def wait_for_room(self) -> None:
        """Until this reader has taken most of what was queued, or is gone."""
        while self.outstanding_bytes > LOW_WATER_BYTES and not self._closed:
            await self._room.park()

    async def wait_sent(self) -> None:
        """Until all that was queued has been handed to the transport."""
        while self._control or self.outstanding_bytes:
            await self._sent.park()

    def end(self, code: int | None) -> None:
        """Have the connection ended: with a close frame after all that waits, or (None) at once and without one."""
        self.verdict = code
        self.ended.set()

    def close(self) -> None:
        """Take no more frames; what waits is dropped."""
        self._closed = True
        self._frames.clear()
        self._streams.clear()
        self._waiting_bytes = self._leaving_bytes = 0
        self._room.unpark_all()
