"""What the settings amount to is asked of the exchange; named symbols do without an answer, patterns do not."""

import ssl

import httpx
import pytest
import trio

from ingest_actors.binance.rest_errors import RequestRefused
from ingest_actors.errors import ExchangeUnreachable, SettingsError
from ingest_actors.network import real_network
from ingest_actors.proxies import Proxies
from ingest_actors.settings import Settings

LISTED = {"symbols": [{"symbol": name, "status": "TRADING"} for name in ("BTCUSDT", "ETHUSDT", "BTCEUR")]}


async def resolve(answer, **given):
    """Returns what is wanted, and what was told."""
    told = []

    async def handle(request):
        await trio.lowlevel.checkpoint()
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    network = real_network(
        Settings(**({"binance_stream_types": "trade"} | given)),
        clock_ms=lambda: 0,
        rest_transport=httpx.MockTransport(handle),
    )
    wanted = await network.resolve(lambda name, *, level="info", **fields: told.append((name, level, fields)))
    return wanted, told


async def test_named_symbols_are_checked():
    wanted, told = await resolve(LISTED, binance_symbols="ETHUSDT,BTCUSTD,BTCUSDT")
    assert wanted.streams == ("ethusdt@trade", "btcusdt@trade")
    assert (wanted.asked, wanted.listed, dict(wanted.unlisted)) == (3, 2, {"BTCUSTD": "BTCUSDT"})
    assert told == []


async def test_patterns_expand():
    wanted, _ = await resolve(LISTED, binance_symbols="BTC*")
    assert set(wanted.streams) == {"btcusdt@trade", "btceur@trade"}


UNANSWERED = {
    "no answer": (ExchangeUnreachable, lambda: httpx.ConnectError("no route to host")),
    "trouble": (ExchangeUnreachable, lambda: httpx.Response(503, content=b"maintenance")),
    "refusal": (RequestRefused, lambda: httpx.Response(400, content=b'{"code":-1000,"msg":"An unknown error"}')),
}


@pytest.mark.parametrize("case", UNANSWERED)
async def test_named_symbols_are_subscribed_unchecked_when_the_exchange_does_not_answer(case):
    wanted, told = await resolve(UNANSWERED[case][1](), binance_symbols="ETHUSDT,BTCUSTD")
    assert wanted.streams == ("ethusdt@trade", "btcustd@trade")
    assert (wanted.asked, wanted.listed, dict(wanted.unlisted)) == (None, None, {})
    ((name, level, fields),) = told
    assert (name, level) == ("symbols_unchecked", "warning")
    assert fields["url"].startswith("https://api.binance.com/api/v3/exchangeInfo")
    assert fields["cause"]


@pytest.mark.parametrize("case", UNANSWERED)
async def test_patterns_mean_nothing_without_an_answer(case):
    error, answer = UNANSWERED[case]
    with pytest.raises(error):
        await resolve(answer(), binance_symbols="BTC*")


async def test_symbols_of_which_none_is_listed_are_refused_with_the_nearest():
    with pytest.raises(SettingsError, match="BINANCE_SYMBOLS=BTCUSTD: the exchange lists none of these; near: BTCUSDT"):
        await resolve(LISTED, binance_symbols="BTCUSTD")
    with pytest.raises(SettingsError, match=r"BINANCE_SYMBOLS=XYZ\*: the exchange lists none of these$"):
        await resolve(LISTED, binance_symbols="XYZ*")


async def test_every_endpoint_has_its_url():
    network = real_network(Settings(binance_ws_url="wss://a:9443,ws://b/"), clock_ms=lambda: 0)
    assert list(network.endpoints) == ["wss://a:9443/stream", "ws://b/stream"]


async def test_authorities_are_read_once_for_all_rest_clients_and_not_before_the_first(monkeypatch):
    contexts, real = [], ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: contexts.append(real()) or contexts[-1])
    network = real_network(Settings(binance_rest_url="https://a.test"), clock_ms=lambda: 0, proxies=Proxies({}))
    assert contexts == []
    async with network.open_rest() as first, network.open_rest() as second:
        used = {id(client._http._transport._pool._ssl_context) for client in (first, second)}
    assert used == {id(context) for context in contexts}
    assert len(contexts) == 1
