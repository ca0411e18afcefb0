"""What an exchange keeps from its clients is in Kafka all the same, and `audit` proves it from the topics alone."""

from __future__ import annotations

import time

import pytest
from kafka_topics import Topics
from service_process import Command, Service

pytestmark = pytest.mark.broker

SCRIPT = """
[[fault]]
do = "cut_mid_frame"
at_s = 4

[[fault]]
do = "refuse_handshake"
status = 503
at_s = 3.5
for_s = 4

[[fault]]
do = "drop"
count = 4
every_s = 1.5
until_s = 15
streams = "*@*rade"

[[fault]]
do = "duplicate"
count = 3
every_s = 1.5
until_s = 15

[[fault]]
do = "rest_error"
status = 503
at_s = 5
for_s = 4
"""
LASTING_S = 20.0


def test_what_the_exchange_kept_back_is_repaired_and_audit_finds_the_record_whole(tmp_path, broker):
    topics = Topics(broker.bootstrap_servers, f"repaired-{time.time_ns()}-")
    (tmp_path / "faults.toml").write_text(SCRIPT)
    simulate = ["simulate", "--faults", "faults.toml", "--symbols", "BTCUSDT,ETHUSDT", "--seed", "5"]
    with Command(tmp_path, *simulate) as exchange:
        ready = exchange.answer()
        with Service(
            tmp_path,
            BINANCE_WS_URL=ready["ws_url"],
            BINANCE_REST_URL=ready["rest_url"],
            BINANCE_SYMBOLS="BTCUSDT,ETHUSDT",
            BINANCE_STREAM_TYPES="trade,aggTrade,depth@100ms",
            RECONNECT_INTERVAL="0.5",
            MAX_RETRIES="0",
            **topics.settings,
        ).wait_ready() as service:
            time.sleep(LASTING_S)
            deadline = time.monotonic() + 30
            while service.metrics()["gaps_open"][""]:
                assert time.monotonic() < deadline, service.log("gap_opened")[-3:]
                time.sleep(0.2)
            ledger = service.stop()["ledger"]
    assert ledger["backfilled"] > 50
    assert ledger["duplicates"] > 0
    assert ledger["received"] + ledger["backfilled"] == ledger["delivered"] + ledger["duplicates"]
    with Command(tmp_path, "audit", "--format", "json", **topics.settings) as command:
        report = command.answer()
        code = command.end()
    trades = [one for one in report["series"] if one["event_type"] in ("trade", "aggregate_trade")]
    assert len(trades) == 4
    for one in trades:
        assert (one["missing"], one["missing_explained"], one["duplicates"], one["out_of_order"]) == ([], [], [], [])
        assert one["last_id"] - one["first_id"] + 1 == one["records"]
    assert (code, report["ok"]) == (0, True), report
