"""The development broker's nodes together: first start, later starts, and the blows that tests deal them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ingest_actors.errors import DevBrokerFailed
from ingest_actors.kafka.dev_broker_config import Listener, server_properties
from ingest_actors.kafka.dev_broker_data import DataDirectory
from ingest_actors.kafka.dev_broker_jars import ensure_jars, find_java
from ingest_actors.kafka.dev_broker_node import Java, Node
from ingest_actors.kafka.dev_broker_ports import choose_listeners
from ingest_actors.kafka.dev_broker_tls import SaslSsl, issue_certificates

_PORT_ATTEMPTS = 3
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0


class DevBroker:
    """A running cluster. Its methods block and are not thread-safe; nodes are counted from 1.

    Attributes:
        data_dir: what outlives a restart.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        port: int = 0,
        data_dir: Path | None = None,
        security: SaslSsl | None = None,
        heap: str = "256m",
        jars_dir: Path | None = None,
    ) -> None:
        """Describe a cluster; `start` starts it.

        Args:
            nodes: 1 or 3.
            port: for clients; 0 chooses free ones; with three nodes the first of three in a row.
            data_dir: kept, and gone on with at the next start; None: temporary, removed at the end.
            security: SASL_SSL with SCRAM instead of plain text.
            heap: most memory for objects of one node, as ``-Xmx`` wants it.
            jars_dir: cache of jars; None: the user's.
        """
        if nodes not in {1, 3}:
            raise DevBrokerFailed("start", f"{nodes} nodes wanted", hint="1 or 3 can be had")
        self._data = DataDirectory(data_dir)
        self.data_dir = self._data.path
        self._tls_dir = self.data_dir / "tls"
        self._security = security
        self._count = nodes
        self._port = port
        self._heap = heap
        self._jars_dir = jars_dir
        self._nodes: list[Node] = []

    @property
    def bootstrap_servers(self) -> str:
        """Every node, as clients want it."""
        return ",".join(node.listener.address for node in self._nodes)

    @property
    def ca_file(self) -> Path | None:
        """Certificate of the cluster's own authority; None without TLS."""
        return self._tls_dir / "ca.pem" if self._security else None

    @property
    def client_settings(self) -> dict[str, str]:
        """What librdkafka needs for a client with every right."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            **(self._security.client_settings(self._tls_dir) if self._security else {}),
        }

    def start(self, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Start every node and wait until all of them serve.

        Args:
            checkpoint: called while waiting; may raise to give up. Whatever is raised, no process is left.

        Raises:
            DevBrokerFailed: with the reason, and the end of the broker's log when it has one.
        """
        try:
            java = Java(find_java(), ensure_jars(directory=self._jars_dir, checkpoint=checkpoint), self._heap)
            cluster_id = self._data.claim(nodes=self._count, secured=self._security is not None)
            if self._security:
                issue_certificates(self._tls_dir)
            attempts_left = _PORT_ATTEMPTS
            while True:
                attempts_left -= 1
                try:
                    self._start_nodes(java, cluster_id, checkpoint)
                except DevBrokerFailed as error:
                    if self._port or not attempts_left or "Address already in use" not in error.log:
                        raise
                    self._kill_nodes()
                else:
                    return
        except BaseException:
            self.stop()
            raise

    def _start_nodes(self, java: Java, cluster_id: str, checkpoint: Callable[[], None]) -> None:
        host = "localhost" if self._security else "127.0.0.1"
        listeners = choose_listeners(self._count, self._port, host=host)
        self._nodes = [Node(each, self.data_dir / f"node-{each.node_id}", java) for each in listeners]
        self._configure(listeners)
        self._format(cluster_id, checkpoint)
        self._launch(self._nodes, checkpoint)

    def _kill_nodes(self) -> None:
        for node in self._nodes:
            node.kill()
            node.forget_log()

    def stop(self) -> None:
        """Stop every node, cleanly when its data is kept; idempotent."""
        for node in self._nodes:
            node.send_signal(signal.SIGCONT)
            node.send_signal(signal.SIGKILL if self._data.temporary else signal.SIGTERM)
        for node in self._nodes:
            if not node.wait(_STOP_TIMEOUT_S):
                node.kill()
        self._data.release()

    def kill(self, node: int = 1, number: int = signal.SIGKILL) -> None:
        """Send a node a deadly signal and wait for its end. With SIGTERM it hands its partitions over first."""
        self._node(node).send_signal(number)
        if not self._node(node).wait(_STOP_TIMEOUT_S):
            self._node(node).kill()

    def pause(self, node: int | None = None) -> None:
        """Freeze a node, or all of them: connections stay open and nothing answers."""
        for each in self._chosen(node):
            each.send_signal(signal.SIGSTOP)

    def resume(self, node: int | None = None) -> None:
        """Let paused nodes go on."""
        for each in self._chosen(node):
            each.send_signal(signal.SIGCONT)

    def restart(self, node: int = 1, checkpoint: Callable[[], None] = lambda: None) -> None:
        """Start a node again on its data and its ports, ending it first if it runs; waits until it serves."""
        self._node(node).send_signal(signal.SIGCONT)
        self.kill(node, signal.SIGTERM)
        self._launch([self._node(node)], checkpoint)

    def pids(self) -> list[int]:
        """Process ids of the nodes that run."""
        return [node.pid for node in self._nodes if node.pid is not None]

    def log_tail(self, node: int = 1, lines: int = 40) -> str:
        """The end of a node's log: warnings and worse."""
        return self._node(node).log_tail(lines)

    def check(self) -> None:
        """See that every node still runs.

        Raises:
            DevBrokerFailed: one does not, and nobody here has ended it.
        """
        for node in self._nodes:
            if not node.running:
                raise DevBrokerFailed(f"keep {node.name} running", "its process is gone", log=node.log_tail())

    def _node(self, number: int) -> Node:
        return self._nodes[number - 1]

    def _chosen(self, number: int | None) -> list[Node]:
        return self._nodes if number is None else [self._node(number)]

    def _configure(self, listeners: list[Listener]) -> None:
        security = self._security.server_settings(self._tls_dir) if self._security else None
        for node in self._nodes:
            node.configure(server_properties(node.listener, listeners, data_dir=node.data_dir, security=security))

    def _format(self, cluster_id: str, checkpoint: Callable[[], None]) -> None:
        """Format the directories that are new, all at once."""
        users = self._security.scram_arguments() if self._security else []
        begun = [(node, node.begin_format(cluster_id, users)) for node in self._nodes if not node.formatted]
        try:
            for node, process in begun:
                node.finish_format(process, checkpoint)
        finally:
            for _, process in begun:
                process.kill()
                process.wait()

    def _launch(self, nodes: Iterable[Node], checkpoint: Callable[[], None]) -> None:
        """Start nodes and wait until they take connections and are known as members."""
        nodes = list(nodes)
        deadline = time.monotonic() + _START_TIMEOUT_S
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_listening(deadline, checkpoint)
        wanted = {node.listener.node_id for node in self._nodes if node.running}
        while not wanted <= (found := self._members()):
            self._check_launched(nodes)
            if time.monotonic() > deadline:
                raise DevBrokerFailed("form the cluster", f"members are {found}, not {wanted}", log=nodes[0].log_tail())
            checkpoint()

    def _check_launched(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if not node.running:
                raise DevBrokerFailed(f"start {node.name}", "its process has ended", log=node.log_tail())

    def _members(self) -> set[int]:
        """Ids of the nodes that serve, as one of them says."""
        quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda _: None}
        admin = AdminClient({**self.client_settings, **quiet})
        try:
            return set(admin.list_topics(timeout=1.0).brokers)
        except KafkaException:
            return set()
