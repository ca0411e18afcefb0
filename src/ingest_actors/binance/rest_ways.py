"""How REST requests get out: directly, or through the proxy that the environment sets for their address."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeAlias

import httpx

from ingest_actors.binance.rest_body import ENCODING
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.proxies import Proxies

Trusted: TypeAlias = Callable[[], ssl.SSLContext]
"""Makes the context that says whose certificates are trusted."""


def open_client(
    bases: Sequence[str],
    *,
    proxies: Proxies,
    timeout_s: float,
    transport: httpx.AsyncBaseTransport | None = None,
    trusted: Trusted | None = None,
) -> httpx.AsyncClient:
    """An HTTP client for some addresses.

    What httpx itself reads in the environment is left aside: whether there is a proxy is decided by `Proxies`, for the
    WebSocket as for this; certificates are those of the system or of ``SSL_CERT_FILE``, for the proxy's own TLS too.

    Args:
        bases: all the addresses that will be asked.
        proxies: decides.
        timeout_s: for each step of a request.
        transport: instead of the network, and of any proxy.
        trusted: makes what certificates are verified with; not called when nothing is to be verified. None = the
            system's authorities, or those of ``SSL_CERT_FILE``.

    Raises:
        ExchangeUnreachable: one of the addresses is none.
        ValueError: a proxy that would be used cannot be; see `Proxies.for_url`.
    """
    for base in bases:
        _check(base)
    if transport is None and _speaks_tls(bases, proxies):
        context = (trusted or ssl.create_default_context)()
    else:
        context = _nobody_trusted()
    return httpx.AsyncClient(
        transport=transport,
        mounts=None if transport is not None else _mounts(bases, proxies, context),
        timeout=timeout_s,
        verify=context,
        trust_env=False,
        headers={"accept": "application/json", "accept-encoding": ENCODING},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none is kept: they would grow for ever
        follow_redirects=False,  # whoever answers for the exchange is named in the settings, and nowhere else
    )


def _check(base: str) -> None:
    try:
        httpx.URL(base)
    except httpx.InvalidURL as error:
        hint = "it should look like https://api.binance.com; check BINANCE_REST_URL"
        raise ExchangeUnreachable(base, str(error), hint=hint) from error


def _speaks_tls(bases: Sequence[str], proxies: Proxies) -> bool:
    ways = [proxies.for_url(base) for base in bases]
    schemes = {httpx.URL(base).scheme for base in bases} | {way.scheme for way in ways if way is not None}
    return "https" in schemes


def _nobody_trusted() -> ssl.SSLContext:
    """For those who speak no TLS. Reading the authorities takes 30 ms, and what trusts nobody can do no harm."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _mounts(
    bases: Sequence[str], proxies: Proxies, context: ssl.SSLContext
) -> dict[str, httpx.AsyncBaseTransport | None]:
    mounts: dict[str, httpx.AsyncBaseTransport | None] = {}
    for base in bases:
        url = httpx.URL(base)
        origin = f"{url.scheme}://{url.netloc.decode()}"
        proxy = proxies.for_url(base)
        if proxy is None:
            mounts[origin] = None  # named, because a host without a port stands for all its ports
            continue
        credentials = (proxy.username, proxy.password) if proxy.username or proxy.password else None
        way = httpx.Proxy(proxy.url, auth=credentials, ssl_context=context if proxy.scheme == "https" else None)
        mounts[origin] = httpx.AsyncHTTPTransport(verify=context, proxy=way, trust_env=False)
    return mounts
