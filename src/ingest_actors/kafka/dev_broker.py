"""A real, durable Kafka for development and tests, with nothing installed but the extra ``[dev-broker]``.

    with dev_broker() as cluster:
        Producer({"bootstrap.servers": cluster.bootstrap_servers})

One node or three, on loopback, up in about three seconds once the jars are in the cache. A `DevBroker` itself blocks:
from trio take `open_dev_broker`, and `trio.to_thread.run_sync` for the methods.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from ingest_actors.kafka.dev_broker_cluster import DevBroker
from ingest_actors.kafka.dev_broker_tls import SaslSsl

__all__ = ["DevBroker", "SaslSsl", "dev_broker", "open_dev_broker", "run_dev_broker"]

_WATCH_PERIOD_S = 0.5


@contextmanager
def dev_broker(
    *, nodes: int = 1, port: int = 0, data_dir: Path | None = None, security: SaslSsl | None = None, heap: str = "256m"
) -> Iterator[DevBroker]:
    """A running cluster for the time of a ``with`` block; the arguments are those of `DevBroker`.

    Raises:
        DevBrokerFailed: it cannot be had or does not start.
    """
    cluster = DevBroker(nodes=nodes, port=port, data_dir=data_dir, security=security, heap=heap)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


@asynccontextmanager
async def open_dev_broker(
    *, nodes: int = 1, port: int = 0, data_dir: Path | None = None, security: SaslSsl | None = None, heap: str = "256m"
) -> AsyncGenerator[DevBroker, None]:
    """The same for trio: starting can be cancelled at any time, and the end always waits for the processes to be gone.

    Raises:
        DevBrokerFailed: it cannot be had or does not start.
    """
    cluster = DevBroker(nodes=nodes, port=port, data_dir=data_dir, security=security, heap=heap)
    await trio.to_thread.run_sync(partial(cluster.start, checkpoint=trio.from_thread.check_cancelled))
    try:
        yield cluster
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(cluster.stop)


async def run_dev_broker(
    *,
    announce: Callable[[dict[str, object]], None],
    nodes: int = 1,
    port: int = 0,
    data_dir: Path | None = None,
    security: SaslSsl | None = None,
) -> None:
    """What the command ``dev-broker`` does: run until cancelled.

    Args:
        announce: called once the cluster serves, with what clients need to know.
        nodes: as for `DevBroker`, like all that follow.
        port: for clients; 0 chooses.
        data_dir: kept; None: temporary.
        security: SASL_SSL instead of plain text.

    Raises:
        DevBrokerFailed: it cannot be had, does not start, or dies.
    """
    async with open_dev_broker(nodes=nodes, port=port, data_dir=data_dir, security=security) as cluster:
        ready: dict[str, object] = {"bootstrap_servers": cluster.bootstrap_servers, "data_dir": str(cluster.data_dir)}
        if cluster.ca_file is not None:
            ready["ca_file"] = str(cluster.ca_file)
        announce(ready)
        while True:
            await trio.sleep(_WATCH_PERIOD_S)
            cluster.check()
