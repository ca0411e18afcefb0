"""A stream that falls silent, as its user sees it: in the log, in /metrics, and that it flows again."""

from __future__ import annotations

from service_process import Command, Service

SCRIPT = """
[[fault]]
do = "mute"
after_s = 3
streams = "btcusdt@trade"
connections = [1]
"""


def test_a_stream_that_falls_silent_is_told_subscribed_again_moved_and_flows(tmp_path):
    (tmp_path / "faults.toml").write_text(SCRIPT)
    simulate = ["simulate", "--ws-port", "0", "--rest-port", "0", "--faults", "faults.toml", "--symbols", "BTCUSDT"]
    with Command(tmp_path, *simulate) as exchange:
        addresses = exchange.answer()
        with Service(
            tmp_path,
            BINANCE_WS_URL=addresses["ws_url"],
            BINANCE_REST_URL=addresses["rest_url"],
            BINANCE_SYMBOLS="BTCUSDT",
            BINANCE_STREAM_TYPES="aggTrade,trade",
            KAFKA_BOOTSTRAP_SERVERS="embedded",
            STREAM_SILENCE_SECONDS="2",
        ).wait_ready() as service:
            silent = service.wait_for("stream_silent")
            assert (silent["stream"], silent["connection"]) == ("btcusdt@trade", "ws-1")
            assert (silent["basis"], silent["action"]) == ("btcusdt@aggTrade", "subscribed_again")
            assert service.metrics()["streams"] == {"wanted": 2, "listed": 2, "flowing": 1, "silent": 1}
            assert service.wait_for("stream_silent", count=2)["action"] == "moved"
            flowing = service.wait_for("stream_flowing")
            assert (flowing["stream"], flowing["connection"]) == ("btcusdt@trade", "ws-2")
            assert service.metrics()["streams"] == {"wanted": 2, "listed": 2, "flowing": 2, "silent": 0}
            assert service.log("connection_closed") == []
            ledger = service.stop()["ledger"]
            assert ledger["received"] + ledger["backfilled"] == ledger["delivered"] + ledger["duplicates"]
