from __future__ import annotations

import pytest
import trio
from looked_at import MadeUp, stream_detail

from ingest_actors.console.cells import Toned
from ingest_actors.console.survey import CHUNK, FILTER_MAX, ROWS_MAX, SURVEY_S, Query, Survey

NAMES = [f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt", "bnbusdt") for kind in ("trade", "depth@100ms")]


@pytest.fixture
def made_up():
    return MadeUp([stream_detail(name) for name in NAMES])


@pytest.fixture
async def survey(made_up, autojump_clock):
    survey = Survey(made_up, trio.current_time)
    await survey.refresh()
    return survey


def names(page):
    return [f"{row[0].lower()}@{row[1]}" for row in page.rows]


def test_a_query_that_makes_no_sense_is_as_if_it_were_not_there():
    assert Query.of({}) == Query("", "all", "attention", 1)
    assert Query.of({"q": " btc ", "show": "gaps", "sort": "-rate", "page": "3"}) == Query("btc", "gaps", "-rate", 3)
    for nonsense in (
        {"show": "<b>"},
        {"sort": "--rate"},
        {"sort": "nothing"},
        {"page": "-1"},
        {"page": "9" * 99},
        {"page": "²"},
    ):
        assert Query.of(nonsense) == Query()
    assert len(Query.of({"q": "x" * 10_000}).text) == FILTER_MAX


async def test_what_needs_attention_comes_first(survey, made_up, autojump_clock):
    made_up.streams_now[4] = stream_detail(NAMES[4], state="silent")
    made_up.streams_now[3] = stream_detail(NAMES[3], gaps_open=1)
    made_up.streams_now[5] = stream_detail(NAMES[5], state="waiting")
    await trio.sleep(SURVEY_S)
    await survey.refresh()
    assert names(survey.page(Query()))[:3] == [NAMES[3], NAMES[4], NAMES[5]]
    shown = survey.page(Query(show="attention"))
    assert names(shown) == [NAMES[3], NAMES[4], NAMES[5]]
    assert shown.note == "All 3 streams that fit, of 6"
    assert names(survey.page(Query(show="silent"))) == [NAMES[4]]
    assert names(survey.page(Query(show="waiting"))) == [NAMES[5]]
    assert names(survey.page(Query(show="gaps"))) == [NAMES[3]]


async def test_a_filter_finds_names_types_and_connections(survey, autojump_clock):
    assert names(survey.page(Query("BTC"))) == ["btcusdt@depth@100ms", "btcusdt@trade"]
    assert len(survey.page(Query("trade")).rows) == 3
    assert len(survey.page(Query("ws-1")).rows) == 6
    assert survey.page(Query("nothing of that name")).note == "No stream fits the filter."


async def test_sorting_goes_both_ways(survey, autojump_clock):
    assert names(survey.page(Query(sort="symbol"))) == sorted(NAMES)
    assert names(survey.page(Query(sort="-symbol"))) == sorted(NAMES, reverse=True)


async def test_five_thousand_streams_are_shown_fifty_at_a_time(autojump_clock):
    made_up = MadeUp([stream_detail(f"s{n:04}usdt@trade") for n in range(5000)])
    survey = Survey(made_up, trio.current_time)
    await survey.refresh()
    first, last, beyond = (survey.page(Query(page=number)) for number in (1, 100, 999))
    assert (len(first.rows), first.page, first.pages, first.note) == (ROWS_MAX, 1, 100, "1–50 of 5,000 streams")
    assert last.note == "4,951–5,000 of 5,000 streams"
    assert beyond == last


async def test_looking_lets_others_run_in_between(autojump_clock):
    made_up = MadeUp([stream_detail(f"s{n:04}usdt@trade") for n in range(CHUNK * 4)])
    turns = 0
    async with trio.open_nursery() as nursery:

        async def other():
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(other)
        await Survey(made_up, trio.current_time).refresh()
        nursery.cancel_scope.cancel()
    assert turns >= 3, "trio decides who is first in each round"


async def test_there_is_one_survey_in_a_while_however_many_look(survey, made_up, autojump_clock):
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(survey.refresh)
    assert made_up.looks == 1
    await trio.sleep(SURVEY_S)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(survey.refresh)
    assert made_up.looks == 2


async def test_a_rate_is_how_far_the_ids_went(survey, made_up, autojump_clock):
    await trio.sleep(SURVEY_S)
    made_up.streams_now[0] = stream_detail(NAMES[0], next_id=1000 + 50)
    made_up.streams_now[1] = stream_detail(NAMES[1], next_id=1000 + 4000, by_ones=False)
    made_up.streams_now[2] = stream_detail(NAMES[2], next_id=None, gap_s=12.0)
    await survey.refresh()
    rates = {name: row[4] for name, row in zip(sorted(NAMES), survey.page(Query(sort="symbol")).rows, strict=True)}
    assert rates[NAMES[0]] == "12.5/s"
    assert rates[NAMES[1]] == "1,000 ids/s"
    assert rates[NAMES[2]] == "every 12 s"


async def test_the_rows_that_are_shown_are_of_now(survey, made_up, autojump_clock):
    made_up.streams_now[0] = stream_detail(NAMES[0], state="silent", age_s=70.0)
    row = survey.page(Query("btcusdt@trade")).rows[0]
    assert row[2:4] == [Toned("silent", "bad"), "70 s"]


async def test_what_was_long_ago_says_nothing_of_now(survey, made_up, autojump_clock):
    await trio.sleep(3600)
    made_up.streams_now[0] = stream_detail(NAMES[0], next_id=1_000_000)
    await survey.refresh()
    assert survey.page(Query("btcusdt@trade")).rows[0][4] == "–"
