"""Connections that are replaced before they end, and streams on two connections: the record does not show it.

Five connections carry 4,200 streams of a large market; ``INGEST_ROTATIONS`` says how often each is replaced.
"""

from __future__ import annotations

import time

import pytest
from kafka_topics import Topics
from once_in_order import journal_of, tally_of
from proof_world import Market, Proof, number_of
from service_process import Command, Service
from swallowing_proxy import SwallowingProxy

pytestmark = pytest.mark.broker

ROTATIONS = number_of("INGEST_ROTATIONS", 1)
SYMBOLS = 1050
STREAMS = {"BINANCE_SYMBOLS": "*", "BINANCE_STREAM_TYPES": "trade,aggTrade,depth@100ms,kline_1m"}
CONNECTIONS = 5


def test_five_connections_replaced_one_after_the_other_leave_no_trace_in_the_record(tmp_path, broker, topic_prefix):
    topics = Topics(broker.bootstrap_servers, topic_prefix)
    simulate = ["simulate", "--symbols", str(SYMBOLS), "--activity", "0.1", "--seed", "4"]
    with Command(tmp_path, *simulate) as exchange:
        ready = exchange.answer()
        at = {"BINANCE_WS_URL": ready["ws_url"], "BINANCE_REST_URL": ready["rest_url"]}
        rotate = {"WS_ROTATE_AFTER_SECONDS": "60", "DEPTH_SNAPSHOT_INTERVAL_SECONDS": "86400"}
        with Service(tmp_path, **topics.settings, **at, **STREAMS, **rotate).wait_ready() as service:
            service.wait_for("connection_replaced", 120 * ROTATIONS, count=CONNECTIONS * ROTATIONS)
            time.sleep(2)
            assert service.reconnects() == {}
            ledger = service.stop()["ledger"]
    tally = tally_of(broker.bootstrap_servers, topics.names["trades"], isolation="read_committed")
    assert len(tally.last) > 100
    assert (tally.skipped, tally.repeated, tally.late) == ([], [], 0), str(tally)
    assert journal_of(broker.bootstrap_servers, topics.names["gaps"]) == {}
    assert ledger["duplicates"] > 0, "they overlapped"
    with Command(tmp_path, "audit", "--format", "json", **topics.settings) as command:
        report = command.answer()
        assert (command.end(), report["ok"]) == (0, True), report["series"][0]


@pytest.mark.parametrize("mode", ["exactly_once"])
def test_of_two_connections_one_whose_packets_vanish_is_not_missed(tmp_path, broker, topic_prefix, mode):
    """Neither a trade nor an update of a book, and nothing is fetched from anywhere."""
    with Market(tmp_path, activity=5) as market, SwallowingProxy(market.ready["ws_url"]) as proxy:
        market.wait_for_trades()
        both = {"BINANCE_WS_URL": f"{market.ready['ws_url']},{proxy.url}", "CONNECTIONS_PER_STREAM": "2"}
        with Proof(tmp_path, broker.bootstrap_servers, topic_prefix, mode, market, **both) as proof:
            service = proof.start().wait_ready()
            proof.follower.wait_for(market.newest(), 30)
            assert proxy.swallow() == 1
            service.wait_for("connection_closed", 90)
            last = proof.end(service)
            assert last["ledger"]["backfilled"] <= len(market.symbols), "nothing but the first snapshots"
            assert proof.journal() == {}
            proof.assert_whole()
