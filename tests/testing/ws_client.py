"""The smallest blocking WebSocket client that a test can do with: sockets and wsproto."""

import json
import socket

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Ping, Request, TextMessage


class WsClient:
    """One connection.

    Args:
        url: ``ws://...`` or ``wss://...``.
        context: for TLS.
    """

    def __init__(self, url, context=None, timeout_s=10):
        scheme, _, rest = url.partition("://")
        address, _, path = rest.partition("/")
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout_s)
        if scheme == "wss":
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._socket.sendall(self._ws.send(Request(host=address, target="/" + path)))
        assert isinstance(self._next(), AcceptConnection)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
        self._socket.close()

    def send(self, value):
        self._socket.sendall(self._ws.send(TextMessage(json.dumps(value))))

    def event(self):
        """The next message, decoded."""
        text = ""
        while True:
            event = self._next()
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                return json.loads(text)

    def ending(self):
        """Read to the end: code and reason of the close frame; None when the connection ended without one."""
        try:
            while True:
                event = self._next()
                if event is None:
                    return None
                if isinstance(event, CloseConnection):
                    self._socket.sendall(self._ws.send(event.response()))
                    return event.code, event.reason
                assert isinstance(event, Message | BytesMessage)
        except ConnectionResetError:
            return None
        finally:
            self.close()

    def _next(self):
        while True:
            for event in self._ws.events():
                if isinstance(event, Ping):
                    self._socket.sendall(self._ws.send(event.response()))
                else:
                    return event
            data = self._socket.recv(65536)
            if not data:
                return None
            self._ws.receive_data(data)
