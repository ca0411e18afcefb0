"""Which proxy leads to an address: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case.

One decision for the WebSocket and for REST, so that the two cannot differ. It follows what httpx and urllib do with
these names, and goes beyond httpx in two respects: networks such as ``10.0.0.0/8`` in `NO_PROXY` are meant as
networks, and a port there that is the scheme's own (443 of ``wss://``) counts as given.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

_MASK: Final = "***"
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_ORDER: Final = {
    "https": ("HTTPS_PROXY", "ALL_PROXY"),
    "http": ("HTTP_PROXY", "ALL_PROXY"),
    "wss": ("HTTPS_PROXY", "ALL_PROXY"),
    "ws": ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"),
}
"""By scheme, which variables are asked, the first that is set counts. For ``ws`` as RFC 6455 has it (section 4.1,
step 3): a proxy for TLS is preferred, because what forwards plain HTTP may not let a WebSocket through."""

NAMES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
ACCEPTED: Final = "http://host:port or https://host:port, with user:password@ before the host where the proxy asks"


class Proxy(NamedTuple):
    """An HTTP proxy. Holds a password: show `shown`, never the parts."""

    scheme: str
    """How the proxy itself is spoken to: ``http``, or ``https``."""
    host: str
    port: int
    username: str
    password: str
    variable: str
    """The variable that names it, e.g. ``HTTPS_PROXY``."""

    @property
    def shown(self) -> str:
        """Its address for people, without user name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        credentials = f"{_MASK}@" if self.username or self.password else ""
        return f"{self.scheme}://{credentials}{host}:{self.port}"

    @property
    def url(self) -> str:
        """Its address without user name and password, which are given beside it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.shown!r}, variable={self.variable!r})"


class Proxies:
    """What an environment says about proxies.

    Args:
        environ: the environment; `os.environ` when left out. Read once.

    Attributes:
        given: the variables that are set, by upper-case name, with what they are set to. May hold passwords.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.given = _given(os.environ if environ is None else environ)
        self._exceptions = [exception for exception in map(_Exception.parse, _items(self.given)) if exception]
        self._everywhere_direct = "*" in _items(self.given)

    def for_url(self, url: str) -> Proxy | None:
        """The proxy that leads to an address, None when none does.

        Args:
            url: ``ws``, ``wss``, ``http`` or ``https``.

        Raises:
            ValueError: a variable that would be used cannot be; the text names it, with its value masked.
        """
        parts = urlsplit(url)
        return self.between(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])

    def between(self, scheme: str, host: str, port: int) -> Proxy | None:
        """As `for_url`, from the parts of an address."""
        variable = next((name for name in _ORDER[scheme] if self.given.get(name)), None)
        if variable is None or self._direct(scheme, host, port):
            return None
        return _parse(variable, self.given[variable])

    def problems(self, urls: Iterable[str]) -> list[str]:
        """What stands against the way to addresses, one text for each problem; empty when nothing does."""
        found: dict[str, None] = {}
        for url in urls:
            try:
                self.for_url(url)
            except ValueError as error:
                found[str(error)] = None
        return list(found)

    def warnings(self) -> list[str]:
        """Parts of `NO_PROXY` that nobody can understand, and which therefore stand for nothing."""
        return [
            f"NO_PROXY: {item!r} is neither a host, a domain, an address nor a network; it is passed over"
            for item in _items(self.given)
            if item != "*" and _Exception.parse(item) is None
        ]

    def shown(self) -> dict[str, str]:
        """What is set, for people."""
        return {name: value if name == "NO_PROXY" else masked(value) for name, value in self.given.items()}

    def _direct(self, scheme: str, host: str, port: int) -> bool:
        if self._everywhere_direct:
            return True
        name = _ascii(host)
        address = _address(name)
        secure = {"wss": "https", "ws": "http"}.get(scheme, scheme)
        return any(exception.holds(secure, name, address, port) for exception in self._exceptions)


class _Exception(NamedTuple):
    """One item of `NO_PROXY`."""

    scheme: str
    """``http`` or ``https`` when it is for that alone."""
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    name: str
    own: bool
    """Whether the name itself is meant."""
    subdomains: bool
    """Whether what ends with the name is meant."""
    port: int | None

    @classmethod
    def parse(cls, item: str) -> _Exception | None:
        """None when it cannot be understood."""
        scheme, _, rest = item.rpartition("://")
        scheme = "" if scheme.lower() == "all" else scheme.lower()
        host, port = _host_and_port(rest)
        network = _network(rest) or _network(host)
        if scheme not in ("", "http", "https") or not (host or network):
            return None
        if network is not None:
            return cls(scheme, network, "", own=False, subdomains=False, port=port)
        bare = _ascii(host.removeprefix("*").removeprefix("."))
        if not bare or "*" in bare:
            return None
        below_alone = host.startswith((".", "*"))
        return cls(scheme, None, bare, own=not below_alone, subdomains=bare != "localhost", port=port)

    def holds(
        self, scheme: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int
    ) -> bool:
        """Whether an address is meant by it."""
        if (self.scheme and self.scheme != scheme) or (self.port is not None and self.port != port):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return (self.own and host == self.name) or (self.subdomains and host.endswith(f".{self.name}"))


def _host_and_port(text: str) -> tuple[str, int | None]:
    """The host is empty when there is none that could be meant."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", None
    return ("", None) if set("/@ ").intersection(text) else (host, port)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False) if text else None
    except ValueError:
        return None


def masked(url: str) -> str:
    """A proxy's address as somebody wrote it, right or wrong, without what may be a password."""
    before, at, after = url.rpartition("@")
    if not at:
        return url
    scheme, separator, _ = before.partition("://")
    return f"{scheme}{separator}{_MASK}@{after}" if separator else f"{_MASK}@{after}"


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """Lower case goes before upper case, even when it is empty: so somebody switched it off."""
    given = {name: environ.get(name.lower(), environ.get(name, "")).strip() for name in NAMES}
    return {name: value for name, value in given.items() if value}


def _items(given: Mapping[str, str]) -> list[str]:
    return [item for part in given.get("NO_PROXY", "").split(",") if (item := part.strip())]


def _parse(variable: str, value: str) -> Proxy:
    """Raises ValueError: it cannot be used, and why."""

    def refused(reason: str) -> ValueError:
        return ValueError(f"{variable}={masked(value)!r}: {reason}; accepted: {ACCEPTED}")

    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = parts.port
    except ValueError:
        raise refused("host or port cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise refused(f"a proxy of the kind {parts.scheme!r} cannot be used")
    if not parts.hostname or any(not character.isprintable() or character == " " for character in value):
        raise refused("it is no address")
    if parts.path not in ("", "/") or parts.query or parts.fragment or port == 0:
        raise refused("a proxy has a host and a port, nothing else")
    return Proxy(
        parts.scheme,
        _ascii(parts.hostname),
        port or _PORTS[parts.scheme],
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        variable,
    )


def _ascii(host: str) -> str:
    host = host.lower().rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
