"""How REST requests get out: directly, or through the proxy that the environment sets for their address."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import httpx

from ingest_actors.proxies import Proxies


def open_client(
    bases: Sequence[str],
    *,
    proxies: Proxies,
    timeout_s: float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """An HTTP client for some addresses.

    What httpx itself reads in the environment is left aside: whether there is a proxy is decided by `Proxies`, for the
    WebSocket as for this; certificates are those of the system or of ``SSL_CERT_FILE``, for the proxy's own TLS too.

    Args:
        bases: all the addresses that will be asked.
        proxies: decides.
        timeout_s: for each step of a request.
        transport: instead of the network, and of any proxy.

    Raises:
        ValueError: a proxy that would be used cannot be; see `Proxies.for_url`.
    """
    context = ssl.create_default_context()
    return httpx.AsyncClient(
        transport=transport,
        mounts=None if transport is not None else _mounts(bases, proxies, context),
        timeout=timeout_s,
        verify=context,
        trust_env=False,
        headers={"accept": "application/json"},
    )


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
