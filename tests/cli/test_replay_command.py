"""`replay` before it writes, and how far it says that it is."""

from __future__ import annotations

import io
import json

import pytest

from ingest_actors.commands import progress, replay
from ingest_actors.commands.replay import ReplayOptions, run_it, told_losses
from ingest_actors.kafka.keeping import Loss, expected_losses
from ingest_actors.ledger import LedgerEntry
from ingest_actors.replayer import Replayed
from ingest_actors.settings import Settings
from recorded_files import START_NS

DAY_MS = 86_400_000
ALTER = "  kafka-configs --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name"


@pytest.fixture
def asked(monkeypatch):
    """Runs the command with a recording that Kafka would delete; whether it was replayed, and what was asked."""

    def run(*, terminal, answer=False, yes=False, losses="would be lost"):
        questions, replayed = [], []

        async def find(settings, options):
            return losses

        async def play(settings, options):
            replayed.append(settings)
            return 0

        def confirm(question):
            questions.append(question)
            return answer

        monkeypatch.setattr(replay, "_losses", find)
        monkeypatch.setattr(replay, "_replay", play)
        for stream in ("stdin", "stderr"):
            monkeypatch.setattr(f"sys.{stream}.isatty", lambda: terminal)
        code = run_it(Settings(), ReplayOptions(("r.gz",), yes=yes), confirm=confirm)
        return code, len(replayed), len(questions)

    return run


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"terminal": True, "answer": True}, (0, 1, 1)),
        ({"terminal": True, "answer": False}, (2, 0, 1)),
        ({"terminal": False}, (2, 0, 0)),
        ({"terminal": True, "yes": True}, (0, 1, 0)),
        ({"terminal": False, "yes": True}, (0, 1, 0)),
        ({"terminal": False, "losses": ""}, (0, 1, 0)),
    ],
)
def test_what_would_be_lost_needs_a_yes_and_is_asked_of_those_who_are_there(asked, given, expected):
    assert asked(**given) == expected


def test_the_way_out_names_the_topics_that_are_there():
    losses = [
        Loss("raw", refused=False, limit_ms=7 * DAY_MS, exists=True),
        Loss("trades", refused=False, limit_ms=30 * DAY_MS, exists=False),
        Loss("depth", refused=True, limit_ms=DAY_MS // 2, exists=True),
    ]
    assert told_losses(losses, START_NS // 10**6, "kafka:9092").splitlines() == [
        "the recording begins 2026-09-21 14:13 UTC, and to Kafka a record is as old as its own timestamp:",
        "  raw deletes what is older than 7 days, some minutes after it is written",
        "  trades would be created to delete what is older than 30 days",
        "  depth refuses what is older than 0.5 days (message.timestamp.before.max.ms)",
        "the way out: topics of its own, which are created to keep their records for ever: --topic-prefix replay-",
        "or let those that are there keep them:",
        f"{ALTER} raw --add-config retention.ms=-1",
        f"{ALTER} depth --add-config message.timestamp.before.max.ms=9223372036854775807",
    ]
    assert told_losses(losses[1:2], START_NS // 10**6, "kafka:9092").endswith("--topic-prefix replay-")


async def test_the_embedded_kafka_is_not_asked():
    assert await expected_losses(Settings(kafka_bootstrap_servers="embedded"), age_ms=10**12) == []


def replayed(**changes):
    given = {
        "finished": True, "ledger": LedgerEntry(received=10, delivered=9, dead_lettered=1), "unbalanced": {},
        "records": {"raw": 9}, "messages": 10, "answers": 2, "unended": [("r.gz", 77), ("s.gz", 0)],
    }  # fmt: skip
    return Replayed(**(given | changes))


class Player:
    file, messages, at_ns, position_bytes, total_bytes = "r.gz", 1500, START_NS, 30, 120


@pytest.mark.parametrize(("changes", "code"), [({}, 0), ({"finished": False}, 1), ({"unbalanced": {"trade": -1}}, 1)])
def test_all_that_fell_short_is_told_and_decides_the_exit_code(monkeypatch, capsys, changes, code):
    async def run(*_, **__):
        return replayed(**changes)

    monkeypatch.setattr(replay, "run_replay", run)
    monkeypatch.setattr(replay, "Player", lambda *_, **__: Player())
    assert replay.trio.run(replay._replay, Settings(), ReplayOptions(("r.gz",))) == code
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["finished"] is ("finished" not in changes)
    assert (answer["dead_lettered"], answer["records"]) == (1, {"raw": 9})
    assert "r.gz has no end: its recorder was killed, or is still running; its last block, 77 bytes, was" in said.err
    assert "s.gz has no end: its recorder was killed, or is still running\n" in said.err
    assert "note: 2 answers of REST" in said.err
    assert "note: 1 messages went to the dead letters" in said.err
    assert ("stopped before the end, at 2026-09-21 14:13:20 UTC in r.gz" in said.err) == ("finished" in changes)
    assert ("the ledger of trade does not balance: -1" in said.err) == ("unbalanced" in changes)


class Screen(io.StringIO):
    """A terminal, as far as that can be told."""

    def __init__(self, *, terminal):
        super().__init__()
        self.isatty = lambda: terminal


class Status:
    total = LedgerEntry(received=1500, delivered=1400, in_flight=100)


def test_where_nobody_looks_the_log_says_how_far_it_is_to_those_who_want_it(monkeypatch, caplog):
    caplog.set_level("INFO", "ingest_actors")
    now_s = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    screen = Screen(terminal=False)
    with progress.progress_of(screen) as showing:
        for now_s[0] in range(25):
            showing.show(Player, Status)
    assert screen.getvalue() == ""
    told = {
        "percent": 25.0, "at": "2026-09-21T14:13:20+00:00", "messages": 1500, "delivered": 1400, "in_flight": 100,
    }  # fmt: skip
    assert [record.fields for record in caplog.records] == [told] * 2


def test_a_bar_says_how_far_it_is(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(terminal=True)
    with progress.progress_of(screen) as showing:
        showing.show(Player, Status)
        showing.show(Player, Status)
    assert " 25%" in screen.getvalue()
    assert "1,400 events delivered" in screen.getvalue()


def test_before_the_first_message_there_is_no_time():
    class Beginning(Player):
        at_ns = 0

    assert progress.summary(Beginning, Status).startswith("at -  ")
