"""Free ports for the development broker."""

from __future__ import annotations

import random
import socket

from ingest_actors.errors import DevBrokerFailed
from ingest_actors.kafka.dev_broker_config import Listener

_PORTS = range(20_000, 30_000)
"""Below what systems give to outgoing connections: none of those takes a port between choosing and listening."""


def choose_listeners(count: int, port: int, *, host: str) -> list[Listener]:
    """Free ports for every node; those for clients in a row from `port`, when it is given."""
    client_ports = [port + offset for offset in range(count)] if port else []
    for wanted in client_ports:
        if not _is_free(wanted):
            raise DevBrokerFailed("start", f"port {wanted} is in use", hint="0 chooses a free one")
    taken = set(client_ports)
    while len(client_ports) < count:
        client_ports.append(_free_port(taken))
    return [Listener(number, host, each, _free_port(taken)) for number, each in enumerate(client_ports, start=1)]


def _free_port(taken: set[int]) -> int:
    """A port that nobody listens on and that is not in `taken`; noted there."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - any will do
        if port not in taken and _is_free(port):
            taken.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Kafka does: what is left of connections that have ended does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
