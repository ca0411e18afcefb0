import json
import ssl
from functools import partial

import httpx
import pytest
import trio

from ingest_actors.binance.backfill import AggregateRow
from ingest_actors.binance.endpoint import Endpoints, stream_urls
from ingest_actors.binance.rest import RestClient
from ingest_actors.binance.rest_errors import RequestRefused
from ingest_actors.binance.weight import WINDOW_S, WeightBudget
from ingest_actors.errors import ExchangeUnreachable

LISTED = {
    "timezone": "UTC",
    "rateLimits": [{"limit": 6000}],
    "symbols": [
        {"symbol": "BTCUSDT", "status": "TRADING", "filters": [{"filterType": "LOT_SIZE"}]},
        {"symbol": "币USDT", "status": "BREAK", "filters": []},
    ],
}


class Exchange(httpx.AsyncBaseTransport):
    """Answers with the next of some answers; remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def handle_async_request(self, request):
        self.asked.append(request.url)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        await trio.lowlevel.checkpoint()
        return answer


def ok(value, **headers):
    return httpx.Response(200, json=value, headers=headers)


def problem(status, code, text="text", **headers):
    return httpx.Response(status, json={"code": code, "msg": text}, headers=headers)


def client(exchange, *bases, **options):
    return RestClient(bases or ["https://api.example"], transport=exchange, **options)


async def test_the_exchanges_clock():
    exchange = Exchange(ok({"serverTime": 1790000000123}))
    async with client(exchange) as rest:
        assert await rest.server_time() == 1790000000123
    assert str(exchange.asked[0]) == "https://api.example/api/v3/time"


async def test_whoever_measures_is_told_when_the_question_leaves(autojump_clock):
    exchange = Exchange(ok({"serverTime": 1}), ok({"serverTime": 2}))
    left_at = []
    async with client(exchange, budget=WeightBudget(1)) as rest:
        for _ in range(2):
            await rest.server_time(sent=lambda: left_at.append(trio.current_time()))
    assert [round(at - left_at[0], 3) for at in left_at] == [0, 60]


async def test_the_status_of_all_symbols_or_of_some():
    exchange = Exchange(ok(LISTED), ok(LISTED))
    async with client(exchange) as rest:
        assert await rest.exchange_info() == {"BTCUSDT": "TRADING", "币USDT": "BREAK"}
        await rest.exchange_info(["BTCUSDT", "币USDT", "BTCUSDT"])
    assert exchange.asked[0].query == b""
    assert json.loads(exchange.asked[1].params["symbols"]) == ["BTCUSDT", "币USDT"]


@pytest.mark.parametrize("code", [-1121, -1100])
async def test_when_a_symbol_does_not_exist_all_are_asked_for(code):
    exchange = Exchange(problem(400, code), ok(LISTED))
    async with client(exchange) as rest:
        assert await rest.exchange_info(["NOPE"]) == {"BTCUSDT": "TRADING", "币USDT": "BREAK"}
    assert exchange.asked[1].query == b""


async def test_too_many_symbols_for_a_url_are_asked_for_as_all():
    exchange = Exchange(ok(LISTED), ok(LISTED))
    async with client(exchange) as rest:
        await rest.exchange_info([f"S{number}" for number in range(101)])
        await rest.exchange_info([])
    assert [url.query for url in exchange.asked] == [b"", b""]


async def test_a_question_that_is_refused_for_itself_says_so():
    exchange = Exchange(problem(400, -1102, "Mandatory parameter"))
    async with client(exchange) as rest:
        with pytest.raises(RequestRefused) as caught:
            await rest.exchange_info(["BTCUSDT"])
    assert (caught.value.code, caught.value.text, caught.value.status) == (-1102, "Mandatory parameter", 400)
    assert "Mandatory parameter (code -1102)" in str(caught.value)


async def test_weight_is_spent_before_asking_and_the_used_weight_is_read(autojump_clock):
    budget = WeightBudget(20)
    exchange = Exchange(ok({"serverTime": 1}, **{"X-MBX-USED-WEIGHT-1M": "17"}), ok(LISTED))
    async with client(exchange, budget=budget) as rest:
        assert rest.used_weight is None
        await rest.server_time()
        assert (rest.used_weight, budget.used) == (17, 1)
        began_s = trio.current_time()
        await rest.exchange_info()
        assert trio.current_time() - began_s == WINDOW_S
        assert (rest.used_weight, budget.used) == (17, 20)


async def test_trades_are_asked_for_by_id_a_page_at_a_time(autojump_clock):
    row = {"a": 5, "p": "1.0", "q": "2.0", "f": 6, "l": 7, "T": 8, "m": True, "M": True}
    exchange = Exchange(ok([row]), ok([]))
    async with client(exchange) as rest:
        assert await rest.aggregate_trades("BTCUSDT", 5) == [AggregateRow(5, "1.0", "2.0", 6, 7, 8, m=True, M=True)]
        assert await rest.historical_trades("BTCUSDT", limit=1) == []
    assert [(url.path, url.query) for url in exchange.asked] == [
        ("/api/v3/aggTrades", b"symbol=BTCUSDT&limit=1000&fromId=5"),
        ("/api/v3/historicalTrades", b"symbol=BTCUSDT&limit=1"),
    ]


async def test_several_addresses_are_asked_in_turn_and_the_good_one_is_kept():
    broken = [httpx.ConnectError("refused"), httpx.Response(503)]
    exchange = Exchange(*broken, ok({"serverTime": 1}), ok({"serverTime": 2}))
    async with client(exchange, "https://a/", "https://b", "https://c") as rest:
        assert await rest.server_time() == 1
        assert await rest.server_time() == 2
    assert [url.host for url in exchange.asked] == ["a", "b", "c", "c"]


async def test_when_no_address_answers_the_last_failure_is_told():
    exchange = Exchange(httpx.ConnectError("first"), httpx.ConnectError("second"))
    async with client(exchange, "https://a", "https://b") as rest:
        with pytest.raises(ExchangeUnreachable, match="second") as caught:
            await rest.server_time()
    assert caught.value.url == "https://b/api/v3/time"


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (429, "REST_WEIGHT_PER_MINUTE"),
        (418, "ask nothing until the ban is over"),
    ],
)
async def test_an_address_that_asked_too_much_is_not_tried_through_other_doors(status, hint):
    exchange = Exchange(httpx.Response(status, text="<html>no</html>", headers={"Retry-After": "33"}))
    async with client(exchange, "https://a", "https://b") as rest:
        with pytest.raises(ExchangeUnreachable) as caught:
            await rest.server_time()
    assert len(exchange.asked) == 1
    assert (caught.value.status, caught.value.retry_after_s) == (status, 33.0)
    assert hint in caught.value.hint
    assert "wait 33 s" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (451, "data-api.binance.vision"),
        (403, "data-api.binance.vision"),
        (404, "without /api/v3"),
        (407, "HTTPS_PROXY"),
        (302, "no answer of the exchange"),
        (503, "trouble of its own"),
    ],
)
async def test_an_endpoint_that_refuses_is_not_asked_again_while_another_answers(status, hint):
    exchange = Exchange(httpx.Response(status, text="<html>no</html>"), ok({"serverTime": 1}), ok({"serverTime": 2}))
    async with client(exchange, "https://a", "https://b") as rest:
        assert await rest.server_time() == 1
        assert await rest.server_time() == 2
    assert [url.host for url in exchange.asked] == ["a", "b", "b"]
    exchange = Exchange(httpx.Response(status), httpx.Response(status))
    async with client(exchange, "https://a", "https://b") as rest:
        with pytest.raises(ExchangeUnreachable) as caught:
            await rest.server_time()
    assert caught.value.status == status
    assert hint in caught.value.hint
    assert len(exchange.asked) == 2


@pytest.mark.parametrize(
    ("answers", "wait_s"),
    [
        ([httpx.Response(418, headers={"Retry-After": "500"})], 500),
        ([httpx.Response(429)], 60),
        ([httpx.Response(451), httpx.Response(403)], 300),
    ],
    ids=["banned", "too much", "refused by all"],
)
async def test_an_exchange_that_bans_or_refuses_is_left_alone_by_all_who_share_the_addresses(
    answers, wait_s, autojump_clock
):
    exchange = Exchange(*answers, ok({"serverTime": 1}))
    shared = Endpoints(["https://a", "https://b"])
    asked = len(answers)
    async with (
        RestClient(shared, transport=exchange) as one,
        RestClient(shared, transport=exchange) as other,
    ):
        with pytest.raises(ExchangeUnreachable):
            await one.server_time()
        for rest in (one, other):
            with pytest.raises(ExchangeUnreachable, match=r"not asked: .* for another") as caught:
                await rest.server_time()
            assert caught.value.retry_after_s == pytest.approx(wait_s)
        assert len(exchange.asked) == asked
        await trio.sleep(wait_s)
        assert await other.server_time() == 1


async def test_one_address_that_refuses_beside_one_that_is_dead_is_no_reason_to_stay_away():
    exchange = Exchange(httpx.Response(451), httpx.ConnectError("dead"), ok({"serverTime": 1}))
    async with client(exchange, "https://a", "https://b") as rest:
        with pytest.raises(ExchangeUnreachable, match="dead"):
            await rest.server_time()
        assert await rest.server_time() == 1


async def test_a_ban_is_told_in_the_exchanges_words():
    exchange = Exchange(problem(418, -1003, "Way too much request weight used; IP banned"))
    async with client(exchange) as rest:
        with pytest.raises(ExchangeUnreachable, match=r"HTTP 418 .*IP banned \(code -1003\)") as caught:
            await rest.server_time()
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    ("answer", "cause", "hint"),
    [
        (httpx.Response(200, text="<html>"), "cannot be read", "no answer of the exchange"),
        (httpx.Response(200, json={"serverTime": "soon"}), "cannot be read", "no answer of the exchange"),
        (httpx.Response(500, json={"code": -1000, "msg": "internal"}), "HTTP 500 .*internal", "trouble of its own"),
        (httpx.Response(599), "HTTP 599", "trouble of its own"),
        (httpx.ReadTimeout("slow"), "timed out", "firewalls"),
        (httpx.ConnectError(""), "ConnectError", "BINANCE_REST_URL"),
        (httpx.ProxyError("407"), "407", "NO_PROXY"),
    ],
)
async def test_what_is_no_answer_is_told_with_a_hint(answer, cause, hint):
    async with client(Exchange(answer)) as rest:
        with pytest.raises(ExchangeUnreachable, match=cause) as caught:
            await rest.server_time()
    assert hint in caught.value.hint


async def test_a_certificate_that_is_not_trusted_is_told():
    refused = ssl.SSLCertVerificationError(1, "no")
    refused.verify_message = "self-signed certificate"
    error = httpx.ConnectError("failed")
    error.__cause__ = refused
    async with client(Exchange(error)) as rest:
        with pytest.raises(ExchangeUnreachable, match="self-signed certificate") as caught:
            await rest.server_time()
    assert "SSL_CERT_FILE" in caught.value.hint


async def test_a_server_that_drips_is_given_up_in_time(autojump_clock):
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                await trio.sleep(1)
                yield b" "

    async with client(Exchange(httpx.Response(200, stream=Drip())), timeout_s=5) as rest:
        started = trio.current_time()
        with pytest.raises(ExchangeUnreachable, match="timed out"):
            await rest.server_time()
        assert trio.current_time() - started == pytest.approx(5)


async def test_an_answer_without_end_is_not_kept(monkeypatch):
    monkeypatch.setattr("ingest_actors.binance.rest.ANSWER_MAX_BYTES", 10)
    async with client(Exchange(ok({"serverTime": 1}))) as rest:
        with pytest.raises(ExchangeUnreachable, match="more than 10 bytes"):
            await rest.server_time()


async def test_a_real_server_is_asked_over_the_network():
    async def serve(stream):
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        assert request.startswith(b"GET /api/v3/time HTTP/1.1\r\n")
        body = b'{"serverTime":1790000000123}'
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with RestClient([f"http://127.0.0.1:{port}"]) as rest:
            assert await rest.server_time() == 1790000000123
        nursery.cancel_scope.cancel()


async def test_nobody_there_is_told():
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with RestClient([f"http://127.0.0.1:{port}"]) as rest:
        with pytest.raises(ExchangeUnreachable, match=f"127.0.0.1:{port}"):
            await rest.server_time()


def test_stream_addresses():
    assert stream_urls(["wss://a:9443/", "ws://b"]) == ["wss://a:9443/stream", "ws://b/stream"]


def test_an_address_that_failed_is_left_once_however_many_say_so():
    endpoints = Endpoints(["a", "b", "c"])
    endpoints.failed("a")
    endpoints.failed("a")
    assert (endpoints.current, len(endpoints)) == ("b", 3)
    endpoints.failed("b")
    endpoints.failed("c")
    assert endpoints.current == "a"
    with pytest.raises(ValueError, match="no address"):
        Endpoints([])
