"""A TCP connection that can be waited for until much has come, and then be read without another wait.

`trio.SocketStream.receive_some` yields once for each read that finds something. Whoever has just waited, as the tap
does between two reads of a steady flow, has yielded already: `receive_nowait` spares that one its second turn.
"""

from __future__ import annotations

import socket
from typing import Protocol, runtime_checkable

import trio


@runtime_checkable
class Prompt(Protocol):
    """A stream that can be asked what it has, without waiting."""

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        """What has come, b"" for the end, None when there is nothing. Raises as `trio.abc.ReceiveStream`."""
        ...

    async def gather(self, size_bytes: int, wait_s: float) -> None:
        """Wait until so much has come, or for so long, or until there is anything else to learn by `receive_nowait`."""
        ...


class TcpStream(trio.abc.Stream):
    """A connected socket as a stream; fits `Prompt`.

    One task may read and one may send at a time, which those above see to.

    Args:
        sock: belongs to this object from now on.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self._socket = sock
        self._low_water_bytes = 1

    @classmethod
    def adopt(cls, stream: trio.SocketStream) -> TcpStream:
        """Take the socket out of trio's own stream, which is of no use afterwards."""
        family, kind, protocol = stream.socket.family, stream.socket.type, stream.socket.proto
        return cls(socket.socket(family, kind, protocol, fileno=stream.socket.detach()))

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        """See `Prompt`."""
        try:
            return self._socket.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._broken(error) from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`; 64 KiB unless told otherwise."""
        await trio.lowlevel.checkpoint_if_cancelled()
        most = 65536 if max_bytes is None else max_bytes
        data = self.receive_nowait(most)
        if data is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return data
        if self._low_water_bytes > 1:
            self._wake_from(1)
        while data is None:
            await trio.lowlevel.wait_readable(self._socket)
            data = self.receive_nowait(most)
        return data

    async def gather(self, size_bytes: int, wait_s: float) -> None:
        """See `Prompt`. The system itself counts what has come (SO_RCVLOWAT, see socket(7)), so nobody wakes before.

        Timers are no substitute: those of epoll know only whole milliseconds.
        """
        if self._socket.fileno() < 0:
            return
        if self._wake_from(size_bytes):
            with trio.move_on_after(wait_s):
                await trio.lowlevel.wait_readable(self._socket)
        else:
            await trio.sleep(wait_s)

    def _wake_from(self, size_bytes: int) -> bool:
        """Have the socket count as readable when so much is there; False where the system cannot."""
        if size_bytes != self._low_water_bytes and self._low_water_bytes:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)
                self._low_water_bytes = size_bytes
            except OSError:
                self._low_water_bytes = 0  # never again: closed, or not known here
        return self._low_water_bytes > 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with memoryview(data) as rest:
            sent = 0
            while sent < len(rest):
                try:
                    sent += self._socket.send(rest[sent:])
                except BlockingIOError:
                    await self.wait_send_all_might_not_block()
                except OSError as error:
                    raise self._broken(error) from error
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        await trio.lowlevel.wait_writable(self._socket)

    def getsockopt(self, level: int, option: int) -> int:
        """An option of the socket."""
        return self._socket.getsockopt(level, option)

    async def aclose(self) -> None:
        """Close it; whoever waits for it is told."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()

    def _broken(self, error: OSError) -> trio.ClosedResourceError | trio.BrokenResourceError:
        if self._socket.fileno() < 0:
            return trio.ClosedResourceError("this socket was already closed")
        return trio.BrokenResourceError(f"socket connection broken: {error}")
