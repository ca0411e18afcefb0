"""What happens is told once in the log and to every listener, and no listener holds the service up."""

import pytest
import trio

from ingest_actors.announce import EVENTS_WAITING_MAX, LINES_MAX, LINES_PERIOD_S, Announcer, ServiceEvent


@pytest.fixture
def announce(caplog):
    caplog.set_level("INFO", logger="ingest_actors")
    return Announcer("spot", lambda: 1234)


def lines(caplog):
    return [(record.msg.event, record.levelname, record.fields) for record in caplog.records]


async def test_one_call_makes_the_log_line_and_the_event(announce, caplog):
    with announce.listen() as one, announce.listen() as other:
        announce("connection_closed", level="warning", code=1006)
        expected = ServiceEvent("connection_closed", 1234, {"code": 1006})
        assert await anext(one) == expected
        assert await anext(other) == expected
    assert lines(caplog) == [("connection_closed", "WARNING", {"instance": "spot", "code": 1006})]


async def test_a_listener_hears_only_what_happens_while_it_listens(announce):
    announce("before")
    with announce.listen() as happenings:
        announce("during")
        assert (await anext(happenings)).name == "during"
    announce("after")
    with pytest.raises(trio.ClosedResourceError):
        await anext(happenings)


async def test_the_end_comes_after_what_was_not_read_yet(announce):
    with announce.listen() as happenings:
        announce("first")
        announce("last")
        announce.end()
        announce("too late")
        assert [event.name async for event in happenings] == ["first", "last"]


async def test_whoever_listens_after_the_end_hears_that_it_is_over(announce):
    announce.end()
    with announce.listen() as happenings:
        assert [event async for event in happenings] == []


async def test_a_listener_that_does_not_read_misses_what_is_too_much_and_the_log_says_so(announce, caplog):
    with announce.listen() as happenings:
        for number in range(EVENTS_WAITING_MAX + 2):
            announce(f"event_{number}")
        announce.end()
        assert len([event async for event in happenings]) == EVENTS_WAITING_MAX
    missed = [fields["missed"] for name, _, fields in lines(caplog) if name == "event_missed"]
    assert missed == [f"event_{EVENTS_WAITING_MAX}", f"event_{EVENTS_WAITING_MAX + 1}"]


async def test_a_listener_that_has_closed_its_end_harms_nobody(announce, caplog):
    with announce.listen() as happenings, announce.listen() as other:
        await happenings.aclose()
        announce("it goes on")
        assert (await anext(other)).name == "it goes on"
    assert [name for name, _, _ in lines(caplog)] == ["it goes on"]


async def test_two_announcers_share_nothing(announce):
    with announce.listen() as happenings:
        Announcer("futures", lambda: 0)("elsewhere")
        announce("here")
        assert (await anext(happenings)).name == "here"


@pytest.mark.parametrize("name", LINES_MAX)
async def test_what_a_peer_can_bring_about_by_the_million_is_told_so_often_and_then_counted(caplog, name):
    caplog.set_level("INFO", logger="ingest_actors")
    now_ms = 1_000_000
    announce = Announcer("spot", lambda: now_ms)
    most = LINES_MAX[name]
    for number in range(most + 7):
        announce(name, level="warning", number=number)
    announce("connection_closed")
    assert [fields.get("number") for _, _, fields in lines(caplog)] == [*range(most), None]
    caplog.clear()
    now_ms += int(LINES_PERIOD_S * 1000)
    announce(name, number=0)
    announce(name, number=1)
    assert [fields.get("untold_before") for _, _, fields in lines(caplog)] == [7, None]


async def test_a_clock_that_is_set_back_silences_nobody(caplog):
    caplog.set_level("INFO", logger="ingest_actors")
    times = iter([10_000_000, 5, 6])
    announce = Announcer("spot", lambda: next(times))
    for _ in range(3):
        announce("gap_opened")
    assert len(lines(caplog)) == 3


async def test_a_listener_hears_what_the_log_leaves_out(caplog):
    announce = Announcer("spot", lambda: 0)
    for _ in range(LINES_MAX["exchange_notice"]):
        announce("exchange_notice")
    with announce.listen() as happenings:
        announce("exchange_notice", number=1)
        assert (await anext(happenings)).fields == {"number": 1}
