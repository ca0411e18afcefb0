"""The 24-hour statistics: what is read of them, and what they cost."""

import json

import httpx
import pytest
import trio

from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.rest_errors import RequestRefused
from ingest_actors.binance.watched_stream import Activity
from ingest_actors.binance.weight import WeightBudget

MINI = {"symbol": "BTCUSDT", "lastPrice": "1.0", "firstId": 1, "lastId": 77, "count": 76}
FULL = MINI | {"bidPrice": "1.0", "bidQty": "2.0", "askPrice": "3.0", "askQty": "4.0"}
NO_SUCH = (400, {"code": -1121, "msg": "Invalid symbol."})


async def ask(answers, *arguments, **options):
    """What came of it, what was asked, and what it weighed."""
    asked, spent = [], []
    answers = iter(answers)

    async def handle(request):
        await trio.lowlevel.checkpoint()
        asked.append((request.url.path, dict(request.url.params)))
        status, body = next(answers)
        return httpx.Response(status, json=body)

    class Budget(WeightBudget):
        async def spend(self, weight):
            await super().spend(weight)
            spent.append(weight)

    async with RestClient(["https://a"], transport=httpx.MockTransport(handle), budget=Budget(6000)) as rest:
        return await rest.ticker_24h(*arguments, **options), asked, spent


async def test_the_last_trade_of_each_symbol():
    told, asked, _ = await ask([(200, [MINI, MINI | {"symbol": "X", "lastId": -1}])], ["BTCUSDT", "X", "X"])
    assert told == {"BTCUSDT": Activity(77), "X": Activity(-1)}
    assert asked == [("/api/v3/ticker/24hr", {"symbols": '["BTCUSDT","X"]', "type": "MINI"})]


async def test_the_top_of_the_book_where_it_is_wanted():
    told, asked, _ = await ask([(200, [FULL])], ["BTCUSDT"], top=True)
    assert told == {"BTCUSDT": Activity(77, ("1.0", "2.0", "3.0", "4.0"))}
    assert asked[0][1]["type"] == "FULL"


@pytest.mark.parametrize(
    ("symbols", "weight", "named"), [(1, 2, 1), (20, 2, 20), (21, 40, 21), (100, 40, 100), (101, 80, 0)]
)
async def test_many_symbols_are_asked_for_all_at_once(symbols, weight, named):
    names = [f"S{number}" for number in range(symbols)]
    _, asked, spent = await ask([(200, [])], names)
    assert spent == [weight]
    assert len(json.loads(asked[0][1].get("symbols", "[]"))) == named


async def test_all_symbols():
    _, asked, spent = await ask([(200, [MINI])])
    assert (asked, spent) == ([("/api/v3/ticker/24hr", {"type": "MINI"})], [80])


async def test_one_symbol_that_is_not_listed_does_not_keep_the_others_from_being_told():
    told, asked, spent = await ask([NO_SUCH, (200, [MINI])], ["BTCUSDT", "NONSENSE"])
    assert told == {"BTCUSDT": Activity(77)}
    assert spent == [2, 80]
    assert asked[1][1] == {"type": "MINI"}


async def test_other_refusals_are_told():
    with pytest.raises(RequestRefused):
        await ask([(400, {"code": -1102, "msg": "no"})], ["BTCUSDT"])
