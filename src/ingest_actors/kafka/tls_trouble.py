"""Why TLS with the brokers fails, as far as librdkafka does not tell: it says "verify failed" of whatever is wrong.

Python's own TLS looks at the same certificates and tells. Everything here blocks, within bounds.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

LOOK_S: Final = 2.0
"""Longest that a look at a broker's certificate may take: somebody waits for the error that it explains."""

_ADDRESS: Final = re.compile(r"^(?:ssl|sasl_ssl)://(?P<host>[^/]+):(?P<port>\d+)/", re.IGNORECASE)
"""Begins librdkafka's texts about connections."""

_CAUSE_MAX: Final = 200
"""Characters of what another program says that are passed on."""


def distrust(text: str, options: Mapping[str, Any]) -> str:
    """Why the certificate of a broker is not trusted.

    Args:
        text: librdkafka's, which names the broker.
        options: of the client that said so.

    Returns:
        In the words of OpenSSL, such as ``certificate has expired``; empty when it is trusted, or nobody can tell.
    """
    found = _ADDRESS.match(text)
    if found is None:
        return ""
    host = found["host"].strip("[]")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        _trust(context, options.get("ssl.ca.location"))
        with (
            socket.create_connection((host, int(found["port"])), timeout=LOOK_S) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message[:_CAUSE_MAX]
    except OSError:
        return ""


def own_certificate(options: Mapping[str, Any]) -> str:
    """What is wrong with the certificate that we would show, so that no broker could take it; empty: nothing.

    Args:
        options: of a client, with ``ssl.certificate.location``, if there is one.
    """
    certificate = options.get("ssl.certificate.location")
    if certificate is None:
        return ""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        for context in (server, client):
            context.load_cert_chain(
                certificate, options.get("ssl.key.location"), password=str(options.get("ssl.key.password", ""))
            )
        # It vouches for itself here: who signed it is for the brokers to judge, its dates are the same for everybody.
        server.load_verify_locations(certificate)
        server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        server.verify_mode = ssl.CERT_REQUIRED
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message[:_CAUSE_MAX]
    except OSError as error:
        return (error.strerror or str(error))[:_CAUSE_MAX]
    return ""


def _trust(context: ssl.SSLContext, authorities: object) -> None:
    if authorities is None:
        context.load_default_certs()
    elif Path(str(authorities)).is_dir():
        context.load_verify_locations(capath=str(authorities))
    else:
        context.load_verify_locations(cafile=str(authorities))


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """A handshake in memory, until the server has seen the client's certificate. Raises ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_side=False),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):  # TLS 1.3 takes two rounds, 1.2 three
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
