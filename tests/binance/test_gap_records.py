"""The gap journal's records are as documented, field by field."""

import json

from ingest_actors.binance.gaps import Gap, Reason, ResolvedBy, State
from ingest_actors.binance.sequence import Hole


def gap(**changes):
    given = {
        "stream": "btcusdt@trade", "symbol": "BTCUSDT", "event_type": "trade",
        "hole": Hole(3735692001, 3735692040), "reason": Reason.DISCONNECTED, "detected_at_ms": 1723161300123,
    }  # fmt: skip
    return Gap(**(given | changes))


def test_a_gap_that_was_closed_is_told_whole():
    closed = gap(recovered=40, resolved_by=ResolvedBy.REST_BACKFILL)
    assert closed.over
    assert closed.record(State.CLOSED, 1723161300790) == (
        b'{"v":1,"gap":"btcusdt@trade:3735692001-3735692040","symbol":"BTCUSDT","stream":"btcusdt@trade",'
        b'"event_type":"trade","first_id":3735692001,"last_id":3735692040,"state":"closed","reason":"disconnected",'
        b'"detected_at":1723161300123,"resolved_at":1723161300790,"resolved_by":"rest_backfill","recovered":40}'
    )


def test_an_open_gap_has_no_resolution():
    record = json.loads(gap().record(State.OPEN))
    assert (record["state"], record["recovered"]) == ("open", 0)
    assert (record["resolved_at"], record["resolved_by"]) == (None, None)
    assert not gap(recovered=39).over
    assert gap(recovered=39, lost=1).over
