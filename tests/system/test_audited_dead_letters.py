"""What Kafka or the parser did not take is missing in the topics, and `audit` knows where it is and why."""

from __future__ import annotations

import json

import pytest
from kafka_topics import Topics
from numbered_trades import Trades
from raw_exchange import frame
from service_process import Command

pytestmark = pytest.mark.broker

DAY_MS = 86_400_000
TOO_LARGE, REFUSED, UNPARSEABLE, NO_EVENT = 300, 600, 900, b"garbage"


def test_dead_letters_are_counted_by_reason_and_explain_what_is_missing(
    tmp_path, exchange, serve, broker, topic_prefix
):
    strict = {"max.message.bytes": "20000", "message.timestamp.before.max.ms": str(DAY_MS)}
    topics = Topics(broker.bootstrap_servers, topic_prefix, {"raw": strict, "trades": strict})
    trades, large = Trades(("BTCUSDT",)), Trades(("BTCUSDT",), filling=30_000)
    at = b'"T":%d' % trades._at_ms

    def script(client):
        while trades.made < 1000:
            payload = trades.payload()
            if trades.made == TOO_LARGE:
                large.made = trades.made - 1
                payload = large.payload()
            elif trades.made == REFUSED:  # its time is two days ago
                payload = payload.replace(at[4:], b"%d" % (trades._at_ms - 2 * DAY_MS))
            elif trades.made == UNPARSEABLE:
                payload = payload.replace(at, b'"T":oops')
            client.send(frame(payload))
        client.send(frame(NO_EVENT))

    service = serve(exchange(script).settings, topics.settings, BACKFILL="off")
    service.wait_until_settled(1001)
    assert service.stop()["ledger"]["dead_lettered"] == 4
    with Command(tmp_path, "audit", "--format", "json", **topics.settings) as command:
        report = command.answer()
        code = command.end()
    assert report["topics"]["dead_letters"]["reasons"] == {
        "malformed_json": 2, "timestamp_out_of_range": 1, "too_large": 1,
    }  # fmt: skip
    (series,) = report["series"]
    assert (series["first_id"], series["last_id"], series["records"]) == (1, 1000, 997)
    assert series["missing"] == []
    assert series["missing_explained"] == [[number, number] for number in (TOO_LARGE, REFUSED, UNPARSEABLE)]
    explained = {(one["first_id"], one["state"], one["reason"]) for one in series["explanations"]}
    assert explained >= {
        (TOO_LARGE, "dead_lettered", "too_large"), (REFUSED, "dead_lettered", "timestamp_out_of_range"),
        (UNPARSEABLE, "dead_lettered", "malformed_json"),
    }  # fmt: skip
    assert (code, report["ok"]) == (0, True), json.dumps(report)


def test_the_table_names_the_reasons_and_what_the_dead_letters_explain(tmp_path, exchange, serve, topics):
    trades = Trades(("BTCUSDT",))

    def script(client):
        client.send(trades.frames(10) + frame(trades.payload()[:-2]) + trades.frames(10))

    service = serve(exchange(script).settings, topics.settings, BACKFILL="off")
    service.wait_until_settled(21)
    service.stop()
    with Command(tmp_path, "audit", **topics.settings) as command:
        text = command.answers()
        assert command.end() == 0, text
    assert f"{topics.names['dead_letters']}: 1 records (1 malformed_json)" in text
    assert text.rstrip().endswith("whole, but for what is explained in 1 series")
