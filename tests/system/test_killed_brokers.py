"""Brokers killed, frozen and started again under load: nothing is missing, and with exactly_once nothing comes twice.

``INGEST_BROKER_KILLS`` says how often one is killed, ``INGEST_PAUSE_SECONDS`` how long they are frozen,
``INGEST_NODE_KILLS`` how often one of three is killed,
``INGEST_PROOF_ACTIVITY`` how busy the market is (10: a thousand trades and aggregates a second);
``--log-cli-level=INFO`` shows figures.
"""

from __future__ import annotations

import random
import time

import pytest
from proof_world import MODES, Market, Proof, number_of

pytestmark = pytest.mark.broker

KILLS = number_of("INGEST_BROKER_KILLS", 2)
NODE_KILLS = number_of("INGEST_NODE_KILLS", 1)
PAUSE_S = number_of("INGEST_PAUSE_SECONDS", 10)
ACTIVITY = number_of("INGEST_PROOF_ACTIVITY", 10)
SEED = number_of("INGEST_PROOF_SEED", 1)
CALM_S = 1.5
"""Least time between two blows."""

both_modes = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def market(tmp_path):
    with Market(tmp_path, activity=ACTIVITY) as market:
        yield market.wait_for_trades()


def on(proof, market):
    """Until what has been published by now can be read."""
    began_s = time.monotonic()
    proof.catch_up(market.newest(), began_s)


@both_modes
def test_a_broker_killed_and_started_again_under_load_loses_nothing(
    tmp_path, private_broker, topic_prefix, market, mode
):
    chance = random.Random(SEED)
    cluster = private_broker()
    with Proof(tmp_path, cluster.bootstrap_servers, topic_prefix, mode, market) as proof:
        service = proof.start().wait_ready()
        for _ in range(KILLS):
            on(proof, market)
            time.sleep(chance.uniform(0, CALM_S))
            cluster.kill()
            time.sleep(chance.uniform(0, 2))
            assert service.running
            cluster.restart()
        on(proof, market)
        proof.end(service)
        proof.tell_times(f"broker killed {KILLS} times")
        proof.assert_whole(repeats=mode == "at_least_once")


@both_modes
def test_one_of_three_nodes_killed_under_load_loses_nothing(tmp_path, private_broker, topic_prefix, market, mode):
    chance = random.Random(SEED)
    cluster = private_broker(nodes=3)
    with Proof(tmp_path, cluster.bootstrap_servers, topic_prefix, mode, market, replication=3) as proof:
        service = proof.start().wait_ready()
        for _ in range(NODE_KILLS):
            node = chance.randint(1, 3)
            on(proof, market)
            time.sleep(chance.uniform(0, CALM_S))
            cluster.kill(node)
            on(proof, market)
            cluster.restart(node)
        on(proof, market)
        proof.end(service)
        proof.tell_times(f"one of three nodes killed {NODE_KILLS} times")
        proof.assert_whole(repeats=mode == "at_least_once")


@both_modes
def test_with_a_spool_a_frozen_broker_loses_no_event_of_any_kind_and_no_connection(
    tmp_path, private_broker, topic_prefix, market, mode
):
    cluster = private_broker()
    spool = {"SPOOL_DIR": str(tmp_path / "spool"), "BUFFER_MAX_BYTES": "8MiB"}
    with Proof(tmp_path, cluster.bootstrap_servers, topic_prefix, mode, market, **spool) as proof:
        service = proof.start().wait_ready()
        on(proof, market)
        cluster.pause()
        try:
            service.wait_for("spool_started")
            time.sleep(PAUSE_S)
            assert service.running
        finally:
            cluster.resume()
        service.wait_for("spool_drained")
        on(proof, market)
        proof.end(service)
        assert service.log("connection_closed") == []
        proof.tell_times(f"broker frozen for {PAUSE_S} s")
        assert proof.journal() == {}, "not even an update of a book"
        proof.assert_whole()
