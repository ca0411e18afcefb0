"""What a WebSocket URL says: where to connect to and what to ask for."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlsplit

_PORTS = {"ws": 80, "wss": 443}
_LEFT_ALONE = "/%:@!$&'()*+,;=~?"
"""Characters that stand for themselves in a path or query (RFC 3986); % because it may be encoded already."""


class WebSocketAddress(NamedTuple):
    """The parts of a WebSocket URL (RFC 6455, section 3)."""

    host: str
    port: int
    tls: bool
    host_header: str
    """Host and, unless it is the scheme's own, port."""
    resource: str
    """Path and query, percent-encoded: since symbols may be in any script."""

    @classmethod
    def parse(cls, url: str) -> WebSocketAddress:
        """Take a URL apart.

        Raises:
            ValueError: it is not a WebSocket URL; the text says why.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise ValueError(f"the scheme must be ws or wss, not {parts.scheme!r}")
        if not parts.hostname:
            raise ValueError("there is no host in it")
        host = parts.hostname
        if not host.isascii():
            host = host.encode("idna").decode()
        port = parts.port or _PORTS[parts.scheme]
        named = f"[{host}]" if ":" in host else host
        return cls(
            host=host,
            port=port,
            tls=parts.scheme == "wss",
            host_header=named if port == _PORTS[parts.scheme] else f"{named}:{port}",
            resource=quote(parts.path or "/", safe=_LEFT_ALONE)
            + (f"?{quote(parts.query, safe=_LEFT_ALONE)}" if parts.query else ""),
        )
