"""TLS with a throw-away certificate authority."""

from __future__ import annotations

import ssl
from pathlib import Path

from ingest_actors.errors import SettingsError


def make_tls(directory: Path, *host_names: str) -> tuple[ssl.SSLContext, Path, Path]:
    """A server's context and its files: the authority's certificate, and the server's key and certificates together.

    Args:
        directory: where the files go.
        host_names: what the certificate is for.

    Raises:
        SettingsError: `trustme` is not installed.
    """
    try:
        import trustme  # noqa: PLC0415 - an extra
    except ImportError:
        problem = "tls: needs a package that is not installed; pip install 'ingest-actors[simulator-tls]'"
        raise SettingsError([problem]) from None
    authority = trustme.CA()
    certificate = authority.issue_cert(*dict.fromkeys(host_names))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    ca_file, server_file = directory / "ca.pem", directory / "server.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(server_file))
    return context, ca_file, server_file
