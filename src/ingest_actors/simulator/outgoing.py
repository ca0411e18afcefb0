"""How what is due on a connection reaches its client: past the faults, over a slow line if need be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from ingest_actors.simulator.fault_actions import CloseWith, Slow
from ingest_actors.simulator.fault_frames import split_frames
from ingest_actors.simulator.fault_plan import ConnectionFaults, Step, ToDo
from ingest_actors.simulator.faults import Fault
from ingest_actors.simulator.session import Session
from ingest_actors.simulator.slow_line import SlowLine
from ingest_actors.simulator.valve import Valve


class Outgoing:
    """Sends to one client.

    Args:
        stream: the transport.
        session: what is to be sent.
        faults: what goes wrong.
        valve: while it is shut, nothing is sent.
        act: does to the connection what a fault asks for.
        frame_per_send: hand each frame to the transport by itself.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        session: Session,
        faults: ConnectionFaults,
        valve: Valve,
        act: Callable[[ToDo, Fault], Awaitable[None]],
        *,
        frame_per_send: bool,
    ) -> None:
        self._stream = stream
        self._session = session
        self._faults = faults
        self._valve = valve
        self._act = act
        self._frame_per_send = frame_per_send
        self._line: SlowLine | None = None
        session.watch_frames(wanted=faults.looks_at_frames)

    async def run(self) -> None:
        """Send until cancelled.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the connection broke.
        """
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            while True:
                control: list[bytes] = []
                frames: list[bytes] = []
                streams: list[str] = []
                with trio.move_on_at(self._faults.next_s):
                    control, frames, streams = await self._session.take()
                await self._valve.passed()
                await self._send(nursery, control, frames, streams)
                self._session.watch_frames(wanted=self._faults.looks_at_frames)

    async def wait_sent(self) -> None:
        """Until everything that was queued has been handed to the transport."""
        await self._session.wait_sent()
        if self._line is not None:
            await self._line.wait_empty()

    async def _send(self, nursery: trio.Nursery, control: list[bytes], frames: list[bytes], streams: list[str]) -> None:
        for step in self._faults.steps(control, frames, streams, trio.current_time()):
            if not step:
                continue
            pace = self._faults.lasting(Slow, trio.current_time())
            if pace is None and not self._line:
                await self._perform(step)
            else:
                if self._line is None:
                    self._line = SlowLine(f"line/{self._session.number}")
                    nursery.start_soon(self._line.run, self._perform)
                await self._line.put(step, pace)
            if isinstance(step, tuple) and isinstance(step[0], CloseWith):
                return  # nothing comes after a close

    async def _perform(self, step: Step) -> None:
        if isinstance(step, tuple):
            await self._act(*step)
            return
        await self._valve.passed()
        for piece in split_frames(step) if self._frame_per_send else (step,):
            await self._stream.send_all(piece)
