"""How addresses are read: of the exchange, of brokers, to listen on."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from ingest_actors.settings.values import Kind, listed, text_of

EMBEDDED = "embedded"
"""The value of `KAFKA_BOOTSTRAP_SERVERS` that means librdkafka's in-process cluster."""

_HOST_PORT = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|([^\s,/:@\[\]\x00-\x1f\x7f]+))(?::([0-9]{1,5}))?")
_PORT_MAX = 65535
_PATHS_OF_OURS = ("/ws", "/stream", "/api/v3", "/api")


def base_urls(*schemes: str, adds: str) -> Kind:
    """Bases of addresses, without a trailing slash; `adds` says what the program appends to them."""
    prefixes = " or ".join(f"{scheme}://" for scheme in schemes)

    def read(value: str) -> str:
        try:
            parts = urlsplit(value)
            port_fits = parts.port != 0
        except ValueError:
            raise ValueError("host or port cannot be read") from None
        if parts.scheme.lower() not in schemes or not parts.hostname or re.search(r"[\s\x00-\x1f\x7f]", value):
            raise ValueError(f"an address begins with {prefixes} and a host")
        if ":" not in parts.hostname:
            _host_name(parts.hostname)
        if "@" in parts.netloc:
            raise ValueError("a user name and password have no place in it")
        if parts.query or parts.fragment or not port_fits:
            raise ValueError("it is no base address")
        path = parts.path.rstrip("/")
        if path.endswith(_PATHS_OF_OURS):
            raise ValueError(f"{path!r} is added by the program: leave it out")
        return f"{parts.scheme.lower()}://{parts.netloc}{path}"

    return listed(Kind(read, ""), f"{prefixes} addresses without the {adds} part")


def brokers() -> Kind:
    """``host:port,host:port`` as librdkafka takes it (9092 when the port is left out), or ``embedded``."""

    def read_one(text: str) -> str:
        match = _HOST_PORT.fullmatch(text)
        if match is None or (match[2] is not None and not 0 < int(match[2]) <= _PORT_MAX):
            raise ValueError(f"{text!r} is no host:port")
        if match[1] is not None:
            _host_name(match[1])
        return text

    several = listed(Kind(read_one, ""), "host:port")

    def read(value: Any) -> str:
        items = several.read(value)
        lowered = [item.lower() for item in items]
        if lowered == [EMBEDDED]:
            return EMBEDDED
        if EMBEDDED in lowered:
            raise ValueError(f"{EMBEDDED!r} stands alone")
        return ",".join(items)

    return Kind(read, f"{several.accepts}, or {EMBEDDED}")


def listen_host() -> Kind:
    """A host name or an address to listen on."""

    def read(value: Any) -> str:
        text = text_of(value).strip()
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1]
        if ":" in text:
            _ipv6(text)
        elif not re.fullmatch(r"[\w.-]+", text):
            raise ValueError("")
        else:
            _host_name(text)
        return text

    return Kind(read, "a host name or an IP address, without scheme and port")


def _host_name(text: str) -> None:
    """Refuse what no name can be: a part of it is empty or has more than 63 characters (RFC 1035, section 2.3.4)."""
    try:
        text.encode("idna")
    except UnicodeError:
        raise ValueError("a part of the host's name is empty, too long, or of characters that no name has") from None


def _ipv6(text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("") from None
