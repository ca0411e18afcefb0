"""What is done to the sockets below a stream."""

from __future__ import annotations

import socket
import struct

import trio

_RESET = struct.pack("ii", 1, 0)  # linger, for no time: closing throws away what waits and sends a reset


def socket_below(stream: trio.abc.Stream) -> trio.SocketStream | None:
    """The TCP stream that a stream is, or is wrapped around; None when there is none."""
    if isinstance(stream, trio.SSLStream):
        return socket_below(stream.transport_stream)
    return stream if isinstance(stream, trio.SocketStream) else None


def peer_address(stream: trio.abc.Stream) -> str:
    """The address of whoever is at the other end; empty when the stream has none."""
    below = socket_below(stream)
    if below is None:
        return ""
    try:
        return str(below.socket.getpeername()[0])
    except OSError:
        return ""


def reset_on_close(stream: trio.abc.Stream) -> None:
    """Have the connection end with a reset when it is closed; without a socket this means nothing."""
    below = socket_below(stream)
    if below is not None:
        below.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
