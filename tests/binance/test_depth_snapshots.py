"""A book's record is REST's answer byte for byte, and its question costs what the exchange says."""

import json

import httpx
import pytest
import trio

from ingest_actors.binance.depth_snapshots import SnapshotFetcher
from ingest_actors.binance.rest import RestClient, depth_weight
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.binance.weight import URGENT_SHARE, WINDOW_S, WeightBudget
from ingest_actors.errors import ExchangeUnreachable

BODY = b'{"lastUpdateId":160,"bids":[["0.00240000","10.00000000",[]]],"asks":[["0.00260000","1.0"]], "new":{"x":1}}'


class Answers(httpx.AsyncBaseTransport):
    def __init__(self, *bodies):
        self.bodies = list(bodies)
        self.asked = []

    async def handle_async_request(self, request):
        self.asked.append((trio.current_time(), str(request.url)))
        await trio.sleep(0.1)
        body = self.bodies.pop(0)
        return httpx.Response(200, content=body) if isinstance(body, bytes) else httpx.Response(body)


def fetcher(answers, *, limit=1000, bases=("https://api.example",), budget=None):
    rest = RestClient(bases, transport=answers, budget=budget)
    return SnapshotFetcher(rest, StreamTable(), limit, lambda: 1_790_000_000_123)


async def test_the_record_is_the_answer_with_symbol_and_the_three_fields(autojump_clock):
    answers = Answers(b"\n" + BODY + b"\n")
    number, (value, key, timestamp_ms, route) = await fetcher(answers)("BTCUSDT", sent=lambda: None)
    appended = (
        b',"symbol":"BTCUSDT","ingestion_timestamp":1790000000123,"source":"binance_rest_backfill",'
        b'"event_type":"depth_snapshot"}'
    )
    assert value == BODY[:-1] + appended
    assert json.loads(value)["bids"] == [["0.00240000", "10.00000000", []]]
    assert (number, key, timestamp_ms) == (160, b"BTCUSDT", 1_790_000_000_123)
    assert (route.event_type, route.topics) == ("depth_snapshot", ("binance-raw-events", "binance-depth"))
    assert [url for _, url in answers.asked] == ["https://api.example/api/v3/depth?symbol=BTCUSDT&limit=1000"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"lastUpdateId":"160","bids":[],"asks":[]}', b'{"bids":[],"asks":[]}', b'{"lastUpdateId":1,"bids":[]}', b"[]",
        b'{"lastUpdateId":-1,"bids":[],"asks":[]}', b'{"lastUpdateId":1,"bids":{},"asks":[]}', b"<html>",
    ],
)  # fmt: skip
async def test_what_is_no_book_is_not_written(body, autojump_clock):
    with pytest.raises(ExchangeUnreachable, match=r"no book|cannot be read"):
        await fetcher(Answers(body))("BTCUSDT", sent=lambda: None)


async def test_the_question_is_sent_when_its_turn_has_come_at_each_address(autojump_clock):
    budget = WeightBudget(60)
    await budget.spend(60)
    answers, sent = Answers(503, BODY), []
    fetch = fetcher(answers, limit=500, budget=budget, bases=("https://one.example", "https://two.example"))
    await fetch("BTCUSDT", sent=lambda: sent.append(trio.current_time()))
    assert [at for at, _ in answers.asked] == sent == [WINDOW_S, WINDOW_S + 0.1]
    assert budget.used == 50


@pytest.mark.parametrize(
    ("limit", "weight"), [(1, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (1001, 250), (5000, 250)]
)
def test_the_weight_is_what_the_exchange_says(limit, weight):
    assert depth_weight(limit) == weight


async def test_a_share_of_the_budget_is_left_to_what_is_urgent(autojump_clock):
    budget = WeightBudget(400)
    start = trio.current_time()
    fetch = fetcher(Answers(), budget=budget)
    for _ in range(6):
        await fetch.turn()
        await budget.spend(50)
    assert (trio.current_time(), budget.used) == (start, 400 - URGENT_SHARE * 400)
    await budget.spend(100)  # whoever repairs is let through
    assert trio.current_time() == start
    await fetch.turn()
    assert trio.current_time() == start + WINDOW_S
