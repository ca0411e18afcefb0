"""The development broker, for real: what it keeps, what it survives, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from ingest_actors.errors import DevBrokerFailed
from ingest_actors.kafka import dev_broker_cluster, dev_broker_tls
from ingest_actors.kafka.dev_broker import DevBroker, SaslSsl, open_dev_broker, run_dev_broker
from ingest_actors.kafka.dev_broker_config import Listener, server_properties
from ingest_actors.kafka.dev_broker_ports import choose_listeners

broker_test = pytest.mark.broker
PATIENCE_S = 30.0


def make_topic(settings, name, **options):
    admin = AdminClient(settings)
    admin.create_topics([NewTopic(name, num_partitions=1, **options)])[name].result(PATIENCE_S)


def produce(settings, topic, values, **options):
    """Write values; what became of each."""
    errors = []
    producer = Producer({**settings, "acks": "all", **options})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(PATIENCE_S) == 0
    return errors


def read(settings, topic, count):
    """The first records of a topic's only partition."""
    consumer = Consumer({**settings, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    try:
        return [record.value() for record in consumer.consume(count, PATIENCE_S)]
    finally:
        consumer.close()


def gone(pid):
    """Whether a process has ended, waiting a moment for it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if status.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@broker_test
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_of_every_codec_come_back(broker, topic_prefix, codec):
    settings = {"bootstrap.servers": broker.bootstrap_servers}
    make_topic(settings, topic_prefix + codec)
    values = [b"x" * 500, b"y"]
    assert produce(settings, topic_prefix + codec, values, **{"compression.type": codec}) == [None, None]
    assert read(settings, topic_prefix + codec, 2) == values


@broker_test
def test_transactions_work(broker, topic_prefix):
    settings = {"bootstrap.servers": broker.bootstrap_servers}
    make_topic(settings, topic_prefix)
    producer = Producer({**settings, "transactional.id": topic_prefix})
    producer.init_transactions(PATIENCE_S)
    for value, end in ((b"dropped", producer.abort_transaction), (b"kept", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic_prefix, value)
        end(PATIENCE_S)
    assert read(settings, topic_prefix, 1) == [b"kept"]


@broker_test
def test_old_records_stay_and_topics_are_made_on_purpose_only(private_broker):
    cluster = private_broker()
    resource = ConfigResource(ResourceType.BROKER, "1")
    admin = AdminClient(cluster.client_settings)
    config = admin.describe_configs([resource])[resource].result(PATIENCE_S)
    assert config["log.retention.ms"].value == "-1"
    assert config["auto.create.topics.enable"].value == "false"
    assert cluster.ca_file is None


@broker_test
def test_what_was_acknowledged_survives_a_kill_and_a_restart(private_broker):
    cluster = private_broker()
    make_topic(cluster.client_settings, "kept")
    assert produce(cluster.client_settings, "kept", [b"1", b"2"]) == [None, None]
    before, where = cluster.pids(), cluster.bootstrap_servers
    assert "QuorumController" in cluster.log_tail()
    cluster.kill()
    assert cluster.pids() == []
    with pytest.raises(DevBrokerFailed, match="keep node 1 running"):
        cluster.check()
    cluster.restart()
    cluster.check()
    assert cluster.bootstrap_servers == where
    assert cluster.pids() != before
    assert read(cluster.client_settings, "kept", 2) == [b"1", b"2"]


@broker_test
def test_a_paused_broker_keeps_connections_open_and_answers_once_resumed(private_broker):
    cluster = private_broker()
    make_topic(cluster.client_settings, "slow")
    producer = Producer({**cluster.client_settings, "acks": "all"})
    cluster.pause()
    producer.produce("slow", b"waits")
    assert producer.flush(1.0) == 1
    cluster.resume()
    assert producer.flush(PATIENCE_S) == 0
    cluster.pause()  # and a paused one can be stopped


@broker_test
def test_a_data_directory_is_gone_on_with_and_only_by_the_same_kind_of_cluster(private_broker, tmp_path):
    first = private_broker(data_dir=tmp_path)
    make_topic(first.client_settings, "kept")
    assert produce(first.client_settings, "kept", [b"1"]) == [None]
    port = int(first.bootstrap_servers.rpartition(":")[2])
    with pytest.raises(DevBrokerFailed, match=r"port \d+ is in use; 0 chooses a free one"):
        DevBroker(port=port).start()
    with pytest.raises(DevBrokerFailed, match="is in use by another development broker") as caught:
        DevBroker(data_dir=tmp_path).start()
    assert caught.value.exit_code == 1
    assert len(first.pids()) == 1
    first.stop()
    first.stop()
    with pytest.raises(DevBrokerFailed, match="holds another kind of cluster"):
        DevBroker(data_dir=tmp_path, nodes=3).start()
    second = private_broker(data_dir=tmp_path, port=port)
    assert second.bootstrap_servers == f"127.0.0.1:{port}"
    assert read(second.client_settings, "kept", 1) == [b"1"]


def test_a_data_directory_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "cluster.json").write_text("[]")
    with pytest.raises(DevBrokerFailed, match="use the data directory"):
        DevBroker(data_dir=tmp_path).start()


@broker_test
def test_three_nodes_go_on_without_one_and_take_it_back(private_broker):
    cluster = private_broker(nodes=3)
    settings = cluster.client_settings
    make_topic(settings, "safe", replication_factor=3)
    description = AdminClient(settings).list_topics("safe", timeout=PATIENCE_S)
    leader = description.topics["safe"].partitions[0].leader
    assert produce(settings, "safe", [b"1"]) == [None]
    cluster.kill(leader)
    assert len(cluster.pids()) == 2
    assert produce(settings, "safe", [b"2"]) == [None]
    cluster.restart(leader)
    assert len(AdminClient(settings).list_topics(timeout=PATIENCE_S).brokers) == 3
    assert read(settings, "safe", 2) == [b"1", b"2"]
    other = leader % 3 + 1
    cluster.kill(other, signal.SIGTERM)
    assert produce(settings, "safe", [b"3"]) == [None]


@broker_test
def test_a_secure_broker_lets_in_whom_it_knows_and_to_what_they_may_do(secure_broker, topic_prefix):
    settings = secure_broker.client_settings
    make_topic(settings, topic_prefix)
    assert produce(settings, topic_prefix, [b"1"]) == [None]
    alice = {**settings, "sasl.username": "alice", "sasl.password": "alice-secret"}
    (refused,) = produce(alice, topic_prefix, [b"2"], **{"message.timeout.ms": 5000})
    assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert read(settings, topic_prefix, 1) == [b"1"]


@broker_test
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sasl.password": "guess"}, KafkaError._AUTHENTICATION),
        ({"ssl.ca.location": None}, KafkaError._SSL),
    ],
    ids=["wrong password", "wrong authority"],
)
def test_a_secure_broker_keeps_out_whom_it_does_not_know(secure_broker, change, code, tmp_path):
    dev_broker_tls.issue_certificates(tmp_path)
    change = {key: value or str(tmp_path / "ca.pem") for key, value in change.items()}
    seen = []
    producer = Producer({**secure_broker.client_settings, **change, "error_cb": seen.append, "log_level": 0})
    deadline = time.monotonic() + PATIENCE_S
    while code not in {error.code() for error in seen} and time.monotonic() < deadline:
        producer.poll(0.1)
    assert code in {error.code() for error in seen}


def test_secrets_are_kept_out_of_sight_and_certificates_out_of_reach(tmp_path):
    assert "secret" not in repr(SaslSsl(users={"a": "a-secret"}))
    dev_broker_tls.issue_certificates(tmp_path)
    first = (tmp_path / "broker.pem").read_bytes()
    assert first.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert (tmp_path / "broker.pem").stat().st_mode & 0o777 == 0o600
    dev_broker_tls.issue_certificates(tmp_path)
    assert (tmp_path / "broker.pem").read_bytes() == first


def test_certificates_without_trustme_say_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(DevBrokerFailed, match="pip install trustme"):
        dev_broker_tls.issue_certificates(tmp_path)


OWNER = """
import sys, time
from ingest_actors.kafka.dev_broker import DevBroker
cluster = DevBroker()
cluster.start()
print(cluster.pids()[0], cluster.data_dir, flush=True)
time.sleep(60)
"""


@broker_test
def test_a_broker_does_not_outlive_an_owner_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        pid, _, data_dir = owner.stdout.readline().strip().partition(" ")
        owner.kill()
    try:
        assert gone(int(pid))
    finally:
        subprocess.run(["rm", "-rf", data_dir], check=True)


@broker_test
def test_a_port_taken_between_choosing_and_listening_costs_only_another_try(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        calls = []

        def choose(*arguments, **options):
            calls.append(options)
            free = choose_listeners(*arguments, **options)
            # A controller's port, at the first try: a client's would seem to be the broker, listening.
            return [Listener(1, "127.0.0.1", free[0].port, taken.getsockname()[1])] if len(calls) == 1 else free

        monkeypatch.setattr(dev_broker_cluster, "choose_listeners", choose)
        cluster = DevBroker()
        try:
            cluster.start()
            assert len(calls) == 2
        finally:
            cluster.stop()
    assert not cluster.data_dir.exists()


def test_only_one_or_three_nodes_can_be_had():
    with pytest.raises(DevBrokerFailed, match="2 nodes wanted; 1 or 3 can be had"):
        DevBroker(nodes=2)


def test_a_node_that_is_not_there_yet_has_no_log_and_cannot_be_hurt(tmp_path):
    node = dev_broker_cluster.Node(Listener(1, "127.0.0.1", 1, 2), tmp_path, None)
    node.kill()
    assert (node.log_tail(), node.pid, node.running, node.formatted) == ("", None, False, False)


def test_a_format_that_fails_is_told_with_its_log(tmp_path):
    class NoProgram:
        def command(self, *arguments):
            return ["/bin/sh", "-c", "echo it is broken >&2; exit 3"]

    node = dev_broker_cluster.Node(Listener(1, "127.0.0.1", 1, 2), tmp_path, NoProgram())
    node.configure("")
    with pytest.raises(DevBrokerFailed, match=r"format node 1: exit code 3\nit is broken"):
        node.finish_format(node.begin_format("id", []), lambda: None)
    node.start()
    with pytest.raises(DevBrokerFailed, match="it ended with exit code 3"):
        node.wait_listening(time.monotonic() + PATIENCE_S, lambda: None)
    node.kill()


def test_a_node_that_does_not_listen_in_time_is_told(tmp_path):
    class SlowProgram:
        def command(self, *arguments):
            return ["/bin/sleep", "60"]

    (listener,) = choose_listeners(1, 0, host="127.0.0.1")
    node = dev_broker_cluster.Node(listener, tmp_path, SlowProgram())
    node.configure("")
    node.start()
    with pytest.raises(DevBrokerFailed, match="does not listen in time"):
        node.wait_listening(time.monotonic(), lambda: None)
    assert node.wait(0.01) is False
    pid = node.pid
    node.kill()
    assert gone(pid)


class Unhelpful:
    """A node that listens and never becomes a member; it may end, too."""

    name = "node 1"
    listener = Listener(1, "127.0.0.1", 1, 2)

    def __init__(self, *, ends):
        self.running = True
        self.ends = ends

    def start(self):
        pass

    def wait_listening(self, deadline, checkpoint):
        pass

    def log_tail(self):
        return "its last words"


@pytest.mark.parametrize(
    ("ends", "told"), [(True, "start node 1: its process has ended"), (False, "form the cluster: members are set()")]
)
def test_a_node_that_listens_and_does_not_join_is_told_with_its_log(monkeypatch, tmp_path, ends, told):
    cluster = DevBroker(data_dir=tmp_path)
    node = Unhelpful(ends=ends)
    cluster._nodes = [node]

    def nobody(self):
        node.running = not node.ends
        return set()

    monkeypatch.setattr(DevBroker, "_members", nobody)
    monkeypatch.setattr(dev_broker_cluster, "_START_TIMEOUT_S", 0.02)
    with pytest.raises(DevBrokerFailed) as caught:
        cluster._launch([node], lambda: None)
    assert told in str(caught.value)
    assert caught.value.log == "its last words"


def test_a_cluster_that_does_not_answer_has_no_members(tmp_path):
    cluster = DevBroker(data_dir=tmp_path)
    cluster._nodes = [Unhelpful(ends=False)]
    assert cluster._members() == set()


def test_properties_replicate_only_what_can_be_replicated_and_escape_backslashes():
    nodes = [Listener(number, "127.0.0.1", 10 + number, 20 + number) for number in (1, 2, 3)]
    alone = server_properties(nodes[0], nodes[:1], data_dir=Path("/a\\b")).splitlines()
    assert {"default.replication.factor=1", "min.insync.replicas=1", "log.dirs=/a\\\\b"} <= set(alone)
    assert "controller.quorum.voters=1@127.0.0.1:21" in alone
    together = server_properties(nodes[1], nodes, data_dir=Path("/a")).splitlines()
    assert {"node.id=2", "default.replication.factor=3", "min.insync.replicas=2"} <= set(together)
    assert "advertised.listeners=PLAINTEXT://127.0.0.1:12" in together
    assert "controller.quorum.voters=1@127.0.0.1:21,2@127.0.0.1:22,3@127.0.0.1:23" in together


@broker_test
async def test_a_start_that_is_cancelled_leaves_no_process(monkeypatch, tmp_path):
    started = []
    start = dev_broker_cluster.Node.start

    def start_and_cancel(node):
        start(node)
        started.append(node.pid)
        trio.from_thread.run_sync(leave.cancel)

    monkeypatch.setattr(dev_broker_cluster.Node, "start", start_and_cancel)
    with trio.fail_after(PATIENCE_S), trio.CancelScope() as leave:
        async with open_dev_broker(data_dir=tmp_path):
            pytest.fail("it cannot have started yet")
    assert leave.cancelled_caught
    assert gone(started[0])


@broker_test
async def test_the_command_announces_where_it_listens_and_ends_cleanly_when_cancelled(tmp_path):
    announced = []
    with trio.fail_after(PATIENCE_S), trio.CancelScope() as leave:

        def announce(ready):
            announced.append(ready)
            leave.cancel()

        await run_dev_broker(announce=announce, data_dir=tmp_path, security=SaslSsl())
    (ready,) = announced
    assert ready["bootstrap_servers"].startswith("localhost:")
    assert ready["data_dir"] == str(tmp_path)
    assert ready["ca_file"] == str(tmp_path / "tls" / "ca.pem")
    port = int(ready["bootstrap_servers"].rpartition(":")[2])
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    assert not list((tmp_path / "node-1" / "data").glob(".kafka_cleanshutdown.tmp"))
    assert (tmp_path / "node-1" / "data" / ".kafka_cleanshutdown").exists()


@broker_test
async def test_the_command_fails_when_its_broker_dies(monkeypatch):
    started = []
    start = dev_broker_cluster.Node.start
    monkeypatch.setattr(dev_broker_cluster.Node, "start", lambda node: (start(node), started.append(node.pid)))
    with trio.fail_after(PATIENCE_S), pytest.raises(DevBrokerFailed, match="its process is gone"):
        await run_dev_broker(announce=lambda _: os.kill(started[0], signal.SIGKILL))
