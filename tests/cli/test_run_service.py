"""How a service ends, told in one last line; no actor of it runs here, only what surrounds it."""

from __future__ import annotations

import pytest
import trio

from ingest_actors.commands.run import run_service
from ingest_actors.errors import ActorFailed, IngestError, SinkUnreachable
from ingest_actors.ledger import LedgerEntry
from ingest_actors.service import DrainTimedOut, Service, StopReport
from ingest_actors.settings import Settings


class AnotherWriter(IngestError):
    """What a later version raises."""

    exit_code = 76


class EndsBy(Service):
    """A service that does nothing but end in a given way."""

    def __init__(self, ending: BaseException | str) -> None:
        super().__init__(Settings())
        self.ending = ending

    async def run(self, **_: object) -> None:
        error = self.ending if isinstance(self.ending, IngestError) else None
        self.report = StopReport(
            self.ending if isinstance(self.ending, str) else "failed",
            LedgerEntry(received=3, delivered=2, in_flight=1),
            unfinished=error.unfinished if isinstance(error, DrainTimedOut) else (),
            left={"batches": 1},
            error=error,
        )
        await trio.lowlevel.checkpoint()
        if not isinstance(self.ending, str):
            raise self.ending

    async def wait_ready(self) -> bool:
        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("ending", "exit_code", "said"),
    [
        ("stopped", 0, {"reason": "stopped"}),
        ("cancelled", 1, {"reason": "cancelled"}),
        (SinkUnreachable("kafka:9092", "no route"), 75, {"error_type": "SinkUnreachable"}),
        (
            ActorFailed("producer", SinkUnreachable("kafka:9092", "no route"), restarts=3),
            75,
            {"error_type": "ActorFailed", "reason": "failed"},
        ),
        (AnotherWriter("somebody"), 76, {"error": "somebody"}),
        (DrainTimedOut(("producer",), 1), 1, {"unfinished": ["producer"], "left": {"batches": 1}}),
        (ExceptionGroup("two", [ValueError("beside"), AnotherWriter("first")]), 76, {"error": "first"}),
        (ValueError(), 1, {"error": "ValueError()", "error_type": "ValueError"}),
    ],
    ids=repr,
)
async def test_the_last_line_tells_why_with_what_exit_code_and_the_ledger(ending, exit_code, said, caplog):
    caplog.set_level("INFO", logger="ingest_actors")
    assert await run_service(Settings(http_port=None), make=lambda _: EndsBy(ending)) == exit_code
    first, last = caplog.records[0], caplog.records[-1]
    assert first.msg.event == "service_started"
    assert last.msg.event == "service_stopped"
    assert last.levelname == ("INFO" if exit_code == 0 else "ERROR")
    assert last.fields["exit_code"] == exit_code
    assert (last.fields["ledger"]["received"], last.fields["ledger"]["in_flight"]) == (3, 1)
    assert {name: last.fields[name] for name in said} == said


async def test_a_bug_is_logged_with_its_traceback_and_an_error_of_ours_without(caplog):
    assert await run_service(Settings(http_port=None), make=lambda _: EndsBy(KeyError("a bug"))) == 1
    (crash,) = [record for record in caplog.records if record.msg.event == "service_crashed"]
    assert crash.exc_info[0] is KeyError
    caplog.clear()
    assert await run_service(Settings(http_port=None), make=lambda _: EndsBy(AnotherWriter("x"))) == 76
    assert not [record for record in caplog.records if record.exc_info]


async def test_what_weakens_a_promise_is_warned_about_at_start(caplog):
    await run_service(Settings(http_port=None, kafka_acks="1"), make=lambda _: EndsBy("stopped"))
    assert [record.fields["warning"][:12] for record in caplog.records if record.msg.event == "settings_warning"] == [
        "KAFKA_ACKS=1"
    ]


async def test_cancellation_of_the_host_is_not_swallowed():
    with trio.move_on_after(0) as scope:
        await run_service(Settings(http_port=None), make=lambda _: EndsBy("stopped"))
    assert scope.cancelled_caught
