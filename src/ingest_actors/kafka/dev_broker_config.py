"""The development broker's configuration files; pure text, no processes.

Small in memory, quick to start, durable, and the same for one node and for three but for what replication needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOG4J2_PROPERTIES = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c{1})%n%throwable
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""
"""Warnings and worse, to the process's output: what one wants to read when a broker does not start, and no more."""

_FOR_DEVELOPMENT = {
    # Topics are made on purpose or not at all.
    "auto.create.topics.enable": "false",
    # Kafka deletes by the record's own time: a recording of years ago would be gone minutes after it was written.
    # A topic with a retention of its own still goes by that.
    "log.retention.ms": "-1",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "16777216",
    # One machine, few consumers: the usual 50 partitions each would only cost time and files.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    # Consumers under KIP-848 have their timeouts from the broker; the usual ones lose 45 s upon a kill.
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "3000",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "500",
    # A node that was killed is let in again only when its old session has run out, usually 9 s; likewise failover.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "3000",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """Where one node listens.

    Attributes:
        node_id: counted from 1.
        host: name or address that clients are told.
        port: for clients.
        controller_port: for the other nodes.
    """

    node_id: int
    host: str
    port: int
    controller_port: int

    @property
    def address(self) -> str:
        """``host:port``, as clients want it."""
        return f"{self.host}:{self.port}"


def server_properties(
    node: Listener, cluster: Sequence[Listener], *, data_dir: Path, security: dict[str, str] | None = None
) -> str:
    """The text of ``server.properties`` of one node, broker and controller in one.

    Args:
        node: the node.
        cluster: every node, this one included.
        data_dir: where it keeps its data.
        security: further settings of a ``SASL_SSL`` listener; None for a plain one.
    """
    name = "PLAINTEXT" if security is None else "SASL_SSL"
    replicas = str(len(cluster))
    in_sync = "2" if len(cluster) > 1 else "1"
    settings = {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.quorum.voters": ",".join(f"{n.node_id}@127.0.0.1:{n.controller_port}" for n in cluster),
        "listeners": f"{name}://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"{name}://{node.address}",
        "listener.security.protocol.map": f"{name}:{name},CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": name,
        "log.dirs": str(data_dir),
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        **_FOR_DEVELOPMENT,
        **(security or {}),
    }
    return "".join(f"{key}={_escape(value)}\n" for key, value in settings.items())


def _escape(value: str) -> str:
    """A Java properties file takes a backslash for the start of an escape."""
    return value.replace("\\", "\\\\")
