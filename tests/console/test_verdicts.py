from __future__ import annotations

import pytest
from looked_at import NOW_MS, MadeUp

from ingest_actors.console.verdict import LOSS_FRESH_S, REASONS_MAX, Recent, fresh, overall, whole
from ingest_actors.details import GapSums, Happening
from ingest_actors.ledger import LedgerEntry
from ingest_actors.protocols import SpoolStatus
from ingest_actors.status import BackfillProgress, MailboxStatus, Tallies


def tallies(age_s=0.3, **changes):
    made = Tallies(**changes)
    made.last_event_ms["trade"] = NOW_MS - round(age_s * 1000)
    return made


@pytest.fixture
def well(make_status):
    """`well(**changes)`: a service to which nothing has happened."""

    def make(**changes):
        entry = LedgerEntry(received=1000, delivered=1000)
        given = {
            "gaps_open": 0, "streams_silent": 0, "streams_flowing": 40, "tallies": tallies(),
            "ledger": {"trade": entry}, "total": entry,
            "mailboxes": (MailboxStatus("frames", 1, 100, 10, 1000),),
        }  # fmt: skip
        return make_status(**(given | changes))

    return make


def test_a_service_to_which_nothing_has_happened_is_whole_and_fresh(well):
    answers = whole(well(), MadeUp()), fresh(well(), MadeUp(), Recent(ack_p50_s=0.0042))
    assert [(answer.tone, answer.word, answer.reasons) for answer in answers] == [
        ("good", "Whole", ()),
        ("good", "Fresh", ()),
    ]
    assert answers[1].text == "The newest event came just now; events are in Kafka 4.2 ms after they are handed over."
    assert overall(answers) == "good"


def test_without_particulars_the_answers_are_the_same(well):
    assert (whole(well(), None).word, fresh(well(), None).word) == ("Whole", "Fresh")


def test_nothing_received_is_neither_good_nor_bad(well):
    status = well(total=LedgerEntry(), ledger={}, tallies=Tallies())
    assert whole(status, MadeUp()).tone == "idle"


def test_open_gaps_are_being_repaired(well):
    answer = whole(well(gaps_open=3), MadeUp(ids_missing=412))
    assert (answer.tone, answer.word) == ("warn", "Being repaired")
    assert answer.text == "3 gaps open: 412 ids missing, asked for again from the exchange."


def test_how_far_a_long_repair_is_stands_below(well):
    def reasons(**progress):
        return whole(well(gaps_open=3, backfill=BackfillProgress(gaps=3, **progress)), MadeUp()).reasons

    assert reasons(ids_fetched=120_000, ids_missing=480_000, ids_per_s=2000.0, remaining_s=240) == (
        "120,000 of 600,000 ids fetched, 2,000 a second: about 4 min to go",
    )
    assert reasons(ids_fetched=0, ids_missing=600_000, ids_per_s=0.0, remaining_s=None) == (
        "0 of 600,000 ids fetched, and nothing came lately: the exchange's REST does not bring any",
    )


def test_lost_trades_are_an_alarm_for_an_hour_and_said_ever_after(well):
    status = well(tallies=tallies(gap_ids_lost=17))

    def lost(ago_s):
        return whole(status, MadeUp(sums={"trade": GapSums(lost=1, ids_lost=17, last_lost_ms=NOW_MS - ago_s * 1000)}))

    assert (lost(30).tone, lost(30).word) == ("bad", "Not whole")
    assert lost(30).text == "17 ids lost, the last 30 s ago. The journal below names each gap."
    later = lost(LOSS_FRESH_S + 3600)
    assert (later.tone, later.word, later.text) == (
        "warn",
        "Whole again",
        "Whole for 2 h 0 min; before that 17 ids were lost.",
    )


def test_lost_trades_are_not_hidden_by_gaps_that_are_being_repaired(well):
    sums = {"trade": GapSums(lost=1, ids_lost=17, last_lost_ms=NOW_MS - 1000)}
    answer = whole(well(gaps_open=1, tallies=tallies(gap_ids_lost=17)), MadeUp(ids_missing=2, sums=sums))
    assert (answer.tone, answer.word) == ("bad", "Not whole")
    assert "17 ids lost for good, the last 1.0 s ago" in answer.reasons


def test_holes_in_books_are_told_from_lost_trades(well):
    sums = {"depth_update": GapSums(lost=2, ids_lost=900, last_lost_ms=NOW_MS - 10_000)}
    answer = whole(well(tallies=tallies(gap_ids_lost=900)), MadeUp(sums=sums))
    assert (answer.tone, answer.word) == ("warn", "Whole but for books")
    assert answer.text.startswith("Every trade is there. 900 ids of book updates were lost")
    assert "a book snapshot is written" in answer.reasons[0]


def test_while_a_connection_is_down_nobody_says_whole(well, make_connection):
    status = well(connections=(make_connection("ws-1"), make_connection("ws-2", "waiting", failures=3)))
    assert (whole(status, MadeUp()).tone, whole(status, MadeUp()).word) == ("warn", "Whole so far")
    answer = fresh(status, MadeUp())
    assert (answer.tone, answer.word) == ("bad", "Partly connected")
    assert answer.reasons == ("ws-2 is waiting, after 3 failures in a row",)


def test_why_a_connection_could_not_be_opened_is_said_first(well, make_connection):
    text = "connection=ws-1 cause=HTTP 503 Service Unavailable hint=worth trying again later failures=2"
    made_up = MadeUp(happenings_now=[Happening(NOW_MS - 5000, "websocket_connection_failed", text)])
    answer = fresh(well(connections=(make_connection("ws-1", "waiting"),)), made_up)
    assert answer.reasons == ("HTTP 503 Service Unavailable: worth trying again later", "ws-1 is waiting")
    assert fresh(well(), made_up).reasons == ()


def test_a_ledger_that_does_not_balance_is_the_worst(well):
    answer = whole(well(ledger={"trade": LedgerEntry(received=5, delivered=3)}), MadeUp())
    assert (answer.tone, answer.word) == ("bad", "Miscounted")
    assert "trade: +2" in answer.text


def test_dead_letters_and_samples_are_said(well):
    entry = LedgerEntry(received=10, delivered=8, dead_lettered=2)
    status = well(ledger={"trade": entry}, total=entry, samples_missed_s={"kline": 75.0})
    answer = whole(status, MadeUp())
    assert (answer.tone, answer.word) == ("warn", "Whole but for dead letters")
    assert answer.reasons == (
        "2 events went to dead letters, with the reason",
        "samples (tickers, forming candles) without a listener: 75 s over all streams",
    )


def test_kafka_away_tells_where_the_events_wait(well, make_sink_status):
    total = LedgerEntry(received=100, in_flight=60, delivered=40)
    sink = make_sink_status(reachable=False, detail="connection refused")
    answer = fresh(well(sink=sink, total=total), MadeUp())
    assert (answer.tone, answer.word) == ("bad", "Kafka is away")
    assert answer.text == "60 events wait in memory. The newest event came just now."
    assert answer.reasons == ("Kafka: connection refused",)
    full = well(sink=sink, total=total, mailboxes=(MailboxStatus("batches", 95, 100, 0, 10),))
    assert "nothing more is read: the exchange may hang up" in fresh(full, MadeUp()).text
    spooling = sink._replace(spool=SpoolStatus(used_bytes=3 * 1024 * 1024, events=5000))
    assert fresh(well(sink=spooling, total=total), MadeUp()).text.startswith("Events wait on the disk: 5,000, 3.0 MiB.")


def test_a_spool_that_takes_nothing_is_said(well, make_sink_status):
    sink = make_sink_status(
        reachable=False, spool=SpoolStatus(used_bytes=1, events=1, detail="SPOOL_MAX_BYTES is reached")
    )
    answer = fresh(well(sink=sink), MadeUp())
    assert answer.reasons == ("Kafka: no broker answers; the spool takes nothing: SPOOL_MAX_BYTES is reached",)


@pytest.mark.parametrize(("age_s", "tone"), [(9, "good"), (10, "warn"), (59, "warn"), (60, "bad")])
def test_data_that_does_not_come_is_stale(well, age_s, tone):
    answer = fresh(well(tallies=tallies(age_s)), MadeUp())
    assert answer.tone == tone
    assert (answer.word == "Stale") == (tone != "good")


def test_full_mailboxes_are_behind(well):
    boxes = (MailboxStatus("frames", 20, 100, 0, 10), MailboxStatus("batches", 92, 100, 0, 10))
    answer = fresh(well(mailboxes=boxes), MadeUp())
    assert (answer.tone, answer.word) == ("bad", "Behind")
    assert answer.text.startswith("Mailboxes fill up: batches 92%.")


def test_silent_and_unlisted_streams_are_said(well):
    assert fresh(well(streams_silent=2), MadeUp()).text.startswith("2 of 40 streams should flow and are silent.")
    assert fresh(well(streams_listed=38), MadeUp()).word == "Partly unlisted"


def test_an_actor_that_crashed_is_amber_for_a_minute(well):
    answer = fresh(well(), MadeUp(), Recent(restarted="parser", restarted_s=12.0))
    assert (answer.tone, answer.word) == ("warn", "Unsteady")
    assert answer.text.startswith("The parser crashed 12 s ago and was started again; that loses nothing.")
    assert fresh(well(), MadeUp(), Recent(restarted="parser", restarted_s=61.0)).word == "Fresh"


def test_what_comes_late_from_the_exchange_is_late(well):
    assert fresh(well(), MadeUp(), Recent(exchange_p50_s=6.0)).word == "Late"


def test_a_service_that_stops_says_so(well):
    answer = fresh(well(), MadeUp(draining=True))
    assert (answer.tone, answer.word) == ("idle", "Stopping")


def test_a_service_that_starts_is_not_alarming_for_half_a_minute(well):
    def young(age_s):
        started = {"started_at_ms": NOW_MS - age_s * 1000, "connections": (), "tallies": Tallies()}
        return fresh(well(**started, total=LedgerEntry(), ledger={}), MadeUp())

    assert (young(5).tone, young(5).word) == ("idle", "Starting")
    assert (young(31).tone, young(31).word) == ("bad", "Not connected")


def test_a_hundred_reasons_are_cut_to_a_handful(well, make_connection):
    down = tuple(make_connection(f"ws-{n}", "waiting") for n in range(100))
    reasons = fresh(well(connections=down), MadeUp()).reasons
    assert len(reasons) == REASONS_MAX + 1
    assert reasons[-1] == "and 94 more"
