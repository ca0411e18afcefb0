"""What wsproto alone makes of a stream of bytes, to be compared with what is made of it otherwise."""

from __future__ import annotations

from wsproto.connection import CLIENT, Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage


class Judge:
    """Makes of bytes what a client is to make of them.

    Attributes:
        messages: whether each was binary, and its payload.
        controls: pings and pongs, by name, with their payloads.
        verdict: the close code; None: no end so far.
    """

    def __init__(self) -> None:
        self.connection = Connection(CLIENT)
        self.messages: list[tuple[bool, bytes]] = []
        self.controls: list[tuple[str, bytes]] = []
        self.verdict: int | None = None
        self.parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Go on with these bytes; once there is a verdict, nothing more is looked at."""
        if self.verdict is not None or not data:
            return
        self.connection.receive_data(data)
        for event in self.connection.events():
            if isinstance(event, Ping | Pong):
                self.controls.append((type(event).__name__, bytes(event.payload)))
            elif isinstance(event, CloseConnection):
                self.verdict = int(event.code)
            else:
                assert isinstance(event, TextMessage | BytesMessage)
                binary = isinstance(event, BytesMessage)
                self.parts.append(bytes(event.data) if binary else event.data.encode())
                if event.message_finished:
                    self.messages.append((binary, b"".join(self.parts)))
                    self.parts = []
