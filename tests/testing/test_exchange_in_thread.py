"""The simulated exchange in a thread, as the tests of anybody's client use it."""

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace

import httpx
import pytest
import trio
from ws_client import WsClient

from ingest_actors.errors import SettingsError
from ingest_actors.testing import (
    CloseWith,
    Cut,
    CutMidFrame,
    ExchangeFailed,
    Fault,
    FaultScript,
    RefuseHandshake,
    SimulatorConfig,
    ThreadedExchange,
    exchange_in_thread,
    open_exchange,
    threaded,
)
from ingest_actors.testing.oracle import Oracle

QUICK = {"symbols": ("BTCUSDT", "ETHUSDT"), "activity": 5.0}


@contextmanager
def nothing_left_behind():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def refused(url):
    host, port = url.rpartition("/")[2].split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return True
    return False


def test_clients_can_connect_on_entry_and_nothing_is_left_on_leaving():
    with nothing_left_behind():
        with exchange_in_thread(**QUICK) as exchange:
            assert httpx.get(f"{exchange.rest_url}/api/v3/ping").json() == {}
            with WsClient(f"{exchange.ws_url}/ws/btcusdt@trade") as client:
                assert client.event()["e"] == "trade"
            addresses = exchange.ws_url, exchange.rest_url
        assert all(map(refused, addresses))


def test_a_client_that_is_still_connected_does_not_hold_up_the_end():
    started = time.monotonic()
    with exchange_in_thread(**QUICK) as exchange:
        client = WsClient(f"{exchange.ws_url}/ws/btcusdt@trade")
        http = httpx.Client(base_url=exchange.rest_url)
        assert http.get("/api/v3/ping").status_code == 200
    client.close()
    http.close()
    assert time.monotonic() - started < 8


def test_it_tells_who_is_connected_and_what_is_subscribed():
    with exchange_in_thread(**QUICK) as exchange:
        assert exchange.connections() == []
        with (
            WsClient(f"{exchange.ws_url}/stream?streams=btcusdt@trade/nosuch@trade&timeUnit=MICROSECOND") as first,
            WsClient(f"{exchange.ws_url}/ws") as second,
        ):
            second.send({"method": "SUBSCRIBE", "params": ["ethusdt@depth@100ms"], "id": 1})
            seen = exchange.wait_for_subscriptions("ethusdt@depth@100ms", "btcusdt@trade")
            assert [(c.number, c.streams, c.combined, c.microseconds) for c in seen] == [
                (1, ("btcusdt@trade", "nosuch@trade"), True, True),
                (2, ("ethusdt@depth@100ms",), False, False),
            ]
            assert exchange.subscriptions() == {"btcusdt@trade", "nosuch@trade", "ethusdt@depth@100ms"}
            assert first.event()["stream"] == "btcusdt@trade"
        exchange.wait_for_no_connections()
        assert exchange.subscriptions() == set()


def test_a_cut_ends_every_connection_without_a_close_frame_before_it_returns():
    with exchange_in_thread(**QUICK) as exchange:
        clients = [WsClient(f"{exchange.ws_url}/ws/btcusdt@trade") for _ in range(3)]
        exchange.wait_for_connections(3)
        assert exchange.cut() == 3
        assert exchange.connections() == []
        assert [client.ending() for client in clients] == [None] * 3
        assert exchange.cut() == 0


def test_one_connection_of_several_can_be_cut():
    with exchange_in_thread(**QUICK) as exchange:
        first, second = (WsClient(f"{exchange.ws_url}/ws/btcusdt@trade") for _ in range(2))
        exchange.wait_for_connections(2)
        assert exchange.cut(1) == 1
        assert [c.number for c in exchange.connections()] == [2]
        assert first.ending() is None
        assert second.event()["e"] == "trade"
        second.close()
        with pytest.raises(LookupError, match=r"connection 1 is not open; open are: "):
            exchange.cut(1)


def test_something_goes_wrong_when_the_test_says_so():
    with exchange_in_thread(**QUICK) as exchange:
        clients = [WsClient(f"{exchange.ws_url}/ws/btcusdt@trade") for _ in range(2)]
        exchange.wait_for_connections(2)
        exchange.inflict(Fault(CutMidFrame(), connections=frozenset({2})))
        assert clients[1].ending() is None
        (fired,) = exchange.wait_for_faults()
        assert (fired.fault.action, fired.connection) == (CutMidFrame(), 2)
        exchange.inflict(CloseWith(4000, "enough"))
        assert clients[0].ending() == (4000, "enough")
        assert [happened.connection for happened in exchange.fired] == [2, 1]
        with pytest.raises(TimeoutError, match=r"waited 0.05 s for 3 faults to happen"):
            exchange.wait_for_faults(3, timeout_s=0.05)


@pytest.mark.parametrize("faults", [[Fault(Cut(), after_frames=3)], FaultScript([Fault(Cut(), after_frames=3)])])
def test_a_script_of_what_goes_wrong_can_be_given(faults):
    with exchange_in_thread(faults=faults, **QUICK) as exchange:
        for number in (1, 2):
            client = WsClient(f"{exchange.ws_url}/ws/btcusdt@trade")
            assert client.ending() is None
            assert exchange.wait_for_faults(number)[-1].connection == number


def test_a_bare_action_in_a_script_holds_from_the_start():
    with exchange_in_thread(faults=[RefuseHandshake(451)], **QUICK) as exchange:
        with socket.create_connection(exchange.ws_url.removeprefix("ws://").split(":"), 5) as client:
            client.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
            client.sendall(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 451 ")
        assert [happened.fault for happened in exchange.fired] == [Fault(RefuseHandshake(451))]


def test_connections_can_be_closed_with_a_code():
    with exchange_in_thread(**QUICK) as exchange:
        client = WsClient(f"{exchange.ws_url}/ws/btcusdt@trade")
        exchange.wait_for_connections()
        assert exchange.close_connections(1008, "Pong timeout") == 1
        assert client.ending() == (1008, "Pong timeout")


def test_a_shutdown_is_announced_to_clients_in_either_form():
    with (
        exchange_in_thread(**QUICK) as exchange,
        WsClient(f"{exchange.ws_url}/ws") as raw,
        WsClient(f"{exchange.ws_url}/stream") as combined,
    ):
        exchange.wait_for_connections(2)
        assert exchange.announce_shutdown() == 2
        assert raw.event()["e"] == "serverShutdown"
        assert combined.event() == {
            "stream": "!serverShutdown",
            "data": {"e": "serverShutdown", "E": pytest.approx(exchange.now_ms(), abs=5000)},
        }


def test_what_a_client_received_is_compared_with_the_true_trades():
    with exchange_in_thread(**QUICK) as exchange:
        with WsClient(f"{exchange.ws_url}/stream?streams=btcusdt@trade/ethusdt@aggTrade") as client:
            events = [client.event()["data"] for _ in range(60)]
        trades = [e for e in events if e["e"] == "trade"]
        truth = exchange.trades("BTCUSDT", trades[0]["t"], trades[-1]["t"])
        assert [(t["t"], t["p"], t["q"], t["T"], t["m"]) for t in trades] == [
            (row.trade_id, row.price, row.quantity, row.time_us // 1000, row.buyer_is_maker) for row in truth
        ]
        sums = [e for e in events if e["e"] == "aggTrade"]
        rows = exchange.aggregate_trades("ETHUSDT", sums[0]["a"], sums[-1]["a"])
        assert [(a["a"], a["f"], a["l"], a["q"]) for a in sums] == [
            (row.aggregate_id, row.first_id, row.last_id, row.quantity) for row in rows
        ]
        assert exchange.trades("BTCUSDT")[-1].trade_id >= trades[-1]["t"]


def test_a_class_and_a_word_are_no_faults():
    with exchange_in_thread(**QUICK) as exchange:
        with pytest.raises(ValueError, match=r"^CutMidFrame is a class: write CutMidFrame\(\)$"):
            exchange.inflict(CutMidFrame)
        with pytest.raises(ValueError, match=r"^action = 'cut': .* write Cut\(\)$"):
            exchange.inflict("cut")


def test_the_truth_does_not_lag_when_rest_does():
    with exchange_in_thread(rest_lag_s=3600, **QUICK) as exchange:
        with WsClient(f"{exchange.ws_url}/ws/btcusdt@aggTrade") as client:
            sums = [client.event() for _ in range(10)]
        rows = exchange.aggregate_trades("BTCUSDT", sums[0]["a"], sums[-1]["a"])
        assert [row.aggregate_id for row in rows] == [a["a"] for a in sums]
        answer = httpx.get(
            f"{exchange.rest_url}/api/v3/aggTrades", params={"symbol": "BTCUSDT", "fromId": sums[0]["a"]}
        )
        assert answer.json() == []


def test_ids_that_are_forgotten_are_refused_with_the_oldest_that_is_remembered():
    with exchange_in_thread(history=20, **QUICK) as exchange:
        with WsClient(f"{exchange.ws_url}/stream?streams=btcusdt@aggTrade/btcusdt@trade") as client:
            for _ in range(200):
                client.event()
        for ask, kind in ((exchange.trades, "trade"), (exchange.aggregate_trades, "aggregate trade")):
            oldest = ask("BTCUSDT")[0][0]
            with pytest.raises(LookupError, match=rf"no {kind} of BTCUSDT has the id {oldest - 1} any more: .* \d+ on"):
                ask("BTCUSDT", oldest - 1)
            newest = ask("BTCUSDT")[-1][0]
            assert ask("BTCUSDT", newest)[0][0] == newest
            assert ask("BTCUSDT", newest + 10_000) == []


def test_a_book_is_compared_with_the_true_one_at_the_id_where_it_stands():
    with exchange_in_thread(**QUICK) as exchange:
        with WsClient(f"{exchange.ws_url}/ws/btcusdt@depth20@100ms") as client:
            shown = [client.event() for _ in range(3)][-1]
        truth = exchange.book("BTCUSDT", shown["lastUpdateId"])
        assert truth.update_id == shown["lastUpdateId"]
        assert [list(level) for level in truth.bids[:20]] == shown["bids"]
        assert [list(level) for level in truth.asks[:20]] == shown["asks"]
        now = exchange.book("BTCUSDT")
        assert now.update_id >= truth.update_id
        assert float(now.bids[0][0]) < float(now.asks[0][0])


@pytest.mark.parametrize(("away", "where"), [(-(10**9), "after"), (10**9, "up to")])
def test_a_book_of_an_id_that_is_not_remembered_is_refused_with_what_is(away, where):
    with exchange_in_thread(**QUICK) as exchange:
        now = exchange.book("BTCUSDT").update_id
        with pytest.raises(LookupError, match=rf"no book of BTCUSDT at id {now + away}: .* {where} \d+"):
            exchange.book("BTCUSDT", now + away)


def test_a_symbol_that_is_not_traded_is_named_with_those_that_are():
    with exchange_in_thread(**QUICK) as exchange:
        for ask in (exchange.book, exchange.trades, exchange.aggregate_trades):
            with pytest.raises(LookupError, match="no symbol 'btcusdt' here; there are BTCUSDT, ETHUSDT"):
                ask("btcusdt")


def test_waiting_in_vain_says_what_was_there():
    with exchange_in_thread(**QUICK) as exchange:
        with pytest.raises(TimeoutError, match=r"waited 0.05 s for 1 connections; .* nobody is connected"):
            exchange.wait_for_connections(timeout_s=0.05)
        with WsClient(f"{exchange.ws_url}/ws/btcusdt@trade"):
            exchange.wait_for_connections()
            with pytest.raises(TimeoutError, match="for subscriptions to a@b; subscribed are: connection 1: btcusdt@t"):
                exchange.wait_for_subscriptions("a@b", timeout_s=0.05)
            with pytest.raises(TimeoutError, match="for the end of all connections"):
                exchange.wait_for_no_connections(timeout_s=0.05)


def test_it_can_be_used_from_an_asyncio_test_without_blocking_its_loop():
    async def use(exchange):
        reader, writer = await asyncio.open_connection(*exchange.ws_url.removeprefix("ws://").split(":"))
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        writer.close()
        await writer.wait_closed()
        assert exchange.connections() == []
        with pytest.raises(
            RuntimeError, match=r"block this asyncio loop: await asyncio.to_thread\(exchange.wait_for_c"
        ):
            exchange.wait_for_connections(0)
        assert await asyncio.to_thread(exchange.wait_for_connections, 0) == []

    with exchange_in_thread(**QUICK) as exchange:
        asyncio.run(use(exchange))


async def test_it_tells_a_trio_test_how_not_to_block_its_loop():
    exchange = await trio.to_thread.run_sync(lambda: _started(**QUICK))
    with pytest.raises(RuntimeError, match=r"await trio.to_thread.run_sync\(exchange.wait_for_subscriptions"):
        exchange.wait_for_subscriptions("btcusdt@trade")
    await trio.to_thread.run_sync(exchange.close)


def _started(**changes):
    exchange = ThreadedExchange(**changes)
    exchange.start()
    return exchange


def test_many_threads_may_ask_at_once():
    with exchange_in_thread(**QUICK) as exchange:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(exchange.trades("BTCUSDT"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(answers) == 8


def test_what_cannot_start_raises_its_own_error_and_leaves_no_thread():
    with nothing_left_behind():
        with exchange_in_thread(rest_port=None) as exchange:
            port = int(exchange.ws_url.rpartition(":")[2])
            with pytest.raises(OSError, match="ddress already in use"), exchange_in_thread(ws_port=port):
                pytest.fail("it started")
        with pytest.raises(TypeError, match="simbols"), exchange_in_thread(simbols=("BTCUSDT",)):
            pytest.fail("it started")


def test_a_recording_that_cannot_be_read_is_told_in_the_test(tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"")
    broken = exchange_in_thread(recording=(tmp_path / "empty.jsonl",))
    with pytest.raises(SettingsError, match=r"empty\.jsonl"), broken:
        pytest.fail("it started")


class Broken(Exception):
    pass


def _break(exchange):
    """The market itself crashes, as a bug would have it."""

    def crash():
        raise Broken("the market stands still")

    def plan(inside):
        scheduler = inside.simulated.source.scheduler
        scheduler.at(scheduler.now_us + 1, crash)

    exchange._ask(plan)
    exchange._thread.join(10)


def test_a_failure_of_the_exchange_reaches_whoever_asks_next_and_the_end_of_the_block():
    with nothing_left_behind():
        with pytest.raises(ExchangeFailed, match="has failed: Brok") as end, exchange_in_thread(**QUICK) as exchange:  # noqa: PT012
            _break(exchange)
            with pytest.raises(ExchangeFailed, match="Broken"):
                exchange.connections()
        assert isinstance(end.value.__cause__, Broken)


def test_what_the_block_raises_comes_out_as_it_is_with_the_failure_as_a_note():
    with pytest.raises(ZeroDivisionError) as raised, exchange_in_thread(**QUICK) as exchange:  # noqa: PT012
        _break(exchange)
        _ = 1 / 0
    assert "the simulated exchange has failed: Broken" in raised.value.__notes__[0]


def test_whoever_waits_is_told_when_the_exchange_is_closed_meanwhile():
    exchange = _started(**QUICK)
    raised = []

    def wait():
        try:
            exchange.wait_for_connections(timeout_s=30)
        except RuntimeError as error:
            raised.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while not exchange._asked:
        time.sleep(0.01)
    exchange.close()
    thread.join(5)
    assert raised == ["the simulated exchange is not running: it was closed, or not started"]


def test_it_is_not_running_before_its_start_and_after_its_end_which_may_come_twice():
    exchange = ThreadedExchange(**QUICK)
    exchange.close()
    with pytest.raises(RuntimeError, match="not running"):
        exchange.connections()
    exchange.start()
    with pytest.raises(RuntimeError):
        exchange.start()
    exchange.close()
    exchange.close()
    with pytest.raises(RuntimeError, match="not running"):
        exchange.connections()


def test_a_thread_that_does_not_answer_is_told_with_where_it_is(monkeypatch):
    monkeypatch.setattr(threaded, "ANSWER_MAX_S", 0.2)
    told = r"(?s)no answer after 0\.2 s; its thread is at:.*time\.sleep"
    with exchange_in_thread(**QUICK) as exchange, pytest.raises(ExchangeFailed, match=told):
        exchange._ask(lambda _inside: time.sleep(1.5))


def test_a_thread_that_does_not_end_is_told_with_where_it_is(monkeypatch):
    monkeypatch.setattr(threaded, "END_MAX_S", 0.2)
    exchange = _started(**QUICK)
    exchange._token.run_sync_soon(lambda: time.sleep(1.5))
    with pytest.raises(ExchangeFailed, match=r"(?s)not ended after 0\.2 s; its thread is at:.*time\.sleep"):
        exchange.close()
    exchange._thread.join(10)


def test_a_start_that_takes_too_long_is_told_with_where_it_is(monkeypatch):
    @asynccontextmanager
    async def open_slowly(config):
        time.sleep(1.5)  # noqa: ASYNC251 - that is the point
        async with open_exchange(config) as exchange:
            yield exchange

    monkeypatch.setattr(threaded, "START_MAX_S", 0.2)
    monkeypatch.setattr(threaded, "open_exchange", open_slowly)
    exchange = ThreadedExchange(**QUICK)
    with pytest.raises(ExchangeFailed, match=r"(?s)not started after 0\.2 s; its thread is at:.*open_slowly"):
        exchange.start()
    exchange._started.result(30)
    exchange.close()


def test_a_recording_has_no_book_of_its_own():
    recording = SimpleNamespace(rest=SimpleNamespace(symbols=lambda: ["BTCUSDT"]))
    with pytest.raises(LookupError, match="compare with REST"):
        Oracle(recording).book("BTCUSDT", None)


def test_its_own_thread_may_not_wait_for_itself():
    with exchange_in_thread(**QUICK) as exchange, pytest.raises(RuntimeError, match="it would wait for itself"):
        exchange._ask(lambda _inside: exchange.connections())


def test_tls_comes_with_the_certificate_of_its_authority():
    with exchange_in_thread(tls=True, **QUICK) as exchange:
        assert exchange.ws_url.startswith("wss://")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{exchange.rest_url}/api/v3/ping")
        context = ssl.create_default_context(cafile=exchange.ca_file)
        assert httpx.get(f"{exchange.rest_url}/api/v3/ping", verify=context).json() == {}
        with WsClient(f"{exchange.ws_url}/ws/btcusdt@trade", context) as client:
            assert client.event()["e"] == "trade"
    assert not exchange.ca_file.exists()


def test_servers_that_were_not_asked_for_have_no_address():
    with exchange_in_thread(ws_port=None, rest_port=None) as exchange:
        assert (exchange.ws_url, exchange.rest_url, exchange.ca_file) == ("", "", None)


def test_a_configuration_can_be_given_whole_and_changed():
    config = SimulatorConfig(symbols=("ADAUSDT",), seed=9)
    with exchange_in_thread(config, seed=10) as exchange:
        assert exchange.config.symbols == ("ADAUSDT",)
        assert exchange.config.seed == 10
    assert config.seed == 9


def test_importing_it_needs_no_pytest_and_the_package_needs_no_simulator():
    program = """
import sys, json
sys.modules["pytest"] = None
import ingest_actors
ingest_actors.Settings, ingest_actors.IngestClient
simulator = [name for name in sys.modules if name.startswith(("ingest_actors.simulator", "ingest_actors.testing"))]
import ingest_actors.testing
ingest_actors.testing.exchange_in_thread
print(json.dumps(simulator))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stderr, json.loads(done.stdout)) == ("", [])
