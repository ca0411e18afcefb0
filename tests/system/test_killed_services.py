"""The service killed and stopped under load: what comes next goes on from the last trade in Kafka.

``INGEST_KILLS`` says how often it is killed, ``INGEST_PROOF_ACTIVITY`` how busy the market is; ``--log-cli-level=INFO``
shows figures.
"""

from __future__ import annotations

import random
import time

import pytest
from proof_world import CATCH_UP_S, MODES, Market, Proof, kill, number_of

pytestmark = pytest.mark.broker

KILLS = number_of("INGEST_KILLS", 3)
ACTIVITY = number_of("INGEST_PROOF_ACTIVITY", 10)
"""A thousand trades and aggregates a second. Every start costs weight of REST, and that is what bounds it: with a kill
every six seconds so much is just there."""
SEED = number_of("INGEST_PROOF_SEED", 1)
SECOND_WRITER_EXIT = 76


@pytest.fixture
def market(tmp_path):
    with Market(tmp_path, activity=ACTIVITY) as market:
        yield market.wait_for_trades()


@pytest.fixture
def proof(tmp_path, broker, topic_prefix, market, request):
    mode, _, more = request.param.partition(" with ")
    environ = {"CONNECTIONS_PER_STREAM": "2", "SPOOL_DIR": str(tmp_path / "spool")} if more else {}
    with Proof(tmp_path, broker.bootstrap_servers, topic_prefix, mode, market, **environ) as proof:
        yield proof


both_modes = pytest.mark.parametrize("proof", MODES, indirect=True)
every_mode = pytest.mark.parametrize(
    "proof", [*MODES, "exactly_once with two connections a stream and a spool"], indirect=True
)


@every_mode
def test_killed_at_any_moment_under_load_it_goes_on_where_kafka_ends(proof, market):
    """With exactly_once every trade is there once; with at_least_once what was under way may be there twice."""
    chance = random.Random(SEED)
    for _ in range(KILLS):
        marks, began_s = market.newest(), time.monotonic()
        service = proof.start()
        if chance.random() < 0.3 and proof.follower.tally.records:
            time.sleep(chance.uniform(0, 2.5))  # while it starts
        else:
            proof.catch_up(marks, began_s)
            time.sleep(chance.uniform(0, 2))
        kill(service)
    marks, began_s = market.newest(), time.monotonic()
    service = proof.start()
    proof.catch_up(marks, began_s)
    proof.end(service)
    proof.tell_times(f"killed {KILLS} times")
    proof.assert_whole(repeats=proof.mode == "at_least_once")


@both_modes
def test_stopped_and_started_again_nothing_is_doubled_and_what_was_missed_is_brought(proof, market):
    """In either mode: a clean stop leaves nothing that could come twice."""
    for away_s in (0.0, 3.0):
        service = proof.start()
        proof.end(service)
        time.sleep(away_s)
    service = proof.start()
    proof.end(service)
    proof.assert_whole()
    gaps = [told for name, told in proof.journal().items() if "@depth" not in name]
    assert gaps
    assert {(one["state"], one["reason"]) for told in gaps for one in told} == {
        ("open", "restarted"), ("closed", "restarted")
    }  # fmt: skip
    assert all(told[-1]["recovered"] == told[-1]["last_id"] - told[-1]["first_id"] + 1 for told in gaps)


@both_modes
def test_after_too_long_an_absence_the_hole_is_told_as_lost_and_the_record_goes_on_at_the_live_edge(proof, market):
    proof.end(proof.start())
    before = dict(proof.follower.tally.last)
    time.sleep(3)
    proof.end(proof.start(RESUME_MAX_AGE_SECONDS="1"))
    skipped = {defect.series: defect for defect in proof.follower.tally.skipped}
    assert skipped.keys() == before.keys()
    assert len(proof.follower.tally.skipped) == len(skipped), "one hole in each"
    assert proof.follower.tally.repeated == []
    told = {name: [(one["state"], one["reason"]) for one in entries] for name, entries in proof.journal().items()}
    for (symbol, event_type), hole in skipped.items():
        stream = f"{symbol.lower()}@{'trade' if event_type == 'trade' else 'aggTrade'}"
        assert hole.expected == before[symbol, event_type] + 1
        assert told[f"{stream}:{hole.expected}-{hole.number - 1}"][-1] == ("lost", "too_old")
    code, report = proof.audit()
    assert (code, report["ok"]) == (0, True), report


@both_modes
def test_of_two_with_the_same_name_the_one_started_later_goes_on_and_the_other_ends_with_76(proof, market):
    first = proof.start()
    proof.follower.wait_for(market.newest(), CATCH_UP_S)
    second = proof.start()
    assert first.end() == SECOND_WRITER_EXIT, first.text()[-2000:]
    assert first.log("second_writer")
    assert (first.log()[-1]["event"], first.log()[-1]["exit_code"]) == ("service_stopped", SECOND_WRITER_EXIT)
    proof.end(second)
    proof.assert_whole(repeats=proof.mode == "at_least_once")
