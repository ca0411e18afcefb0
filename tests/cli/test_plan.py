"""`plan`: figures that are right, and checks against a simulated exchange and a real Kafka."""

from __future__ import annotations

import json

import httpx
import pytest
import trio
from confluent_kafka.admin import AdminClient, NewTopic

from ingest_actors import cli
from ingest_actors.binance.attempts import AttemptBudget, attempts_take_s
from ingest_actors.binance.planning import STREAMS_PER_CONNECTION_MAX
from ingest_actors.binance.weight import WeightBudget
from ingest_actors.commands.plan import plan
from ingest_actors.commands.plan_brokers import Brokers, Topic
from ingest_actors.commands.plan_exchange import Endpoint, Exchange, Symbols
from ingest_actors.commands.plan_figures import figures
from ingest_actors.commands.plan_findings import judge, names
from ingest_actors.kafka.topics import Drift
from ingest_actors.settings import Settings

TOPICS = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")
NOBODY = "127.0.0.1:1"


def planned(capsys, *arguments):
    """The exit code, and the plan as an object."""
    code = cli.main(["plan", "--format", "json", *arguments])
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == code
    assert told["ok"] is (code == 0)
    return code, told


@pytest.fixture
def exchange(start):
    """A simulated exchange; the settings that lead to it."""
    ready = start("simulate", "--symbols", "BTCUSDT,ETHUSDT,BNBUSDT").answer()
    return {"BINANCE_WS_URL": ready["ws_url"], "BINANCE_REST_URL": ready["rest_url"]}


@pytest.fixture
def given(monkeypatch):
    def given(settings=(), **more):
        for name, value in {**dict(settings), **more}.items():
            monkeypatch.setenv(name, value)

    return given


def test_five_thousand_symbols_with_four_streams_each_are_twenty_connections(given, capsys):
    given(BINANCE_SYMBOLS=",".join(f"S{number}USDT" for number in range(5000)))
    code, told = planned(capsys, "--offline")
    assert code == 0
    assert told["symbols"]["found"] == 5000
    assert told["streams"] == {
        "count": 20_000,
        "by_type": {"aggTrade": 5000, "depth@100ms": 5000, "trade": 5000, "kline_1m": 5000},
    }
    assert told["connections"]["count"] == 20
    assert told["connections"]["streams"] == [STREAMS_PER_CONNECTION_MAX] * 19 + [544]
    assert told["connections"]["open_s"] == 19 * 0.25
    subscriptions = told["subscriptions"]
    assert subscriptions["message_bytes_max"] <= 4000
    assert subscriptions["bytes"] > 20_000 * len("s1usdt@trade")
    assert subscriptions["messages"] >= subscriptions["bytes"] / 4000
    most = round(subscriptions["seconds_of_one_connection_max"] / 0.3) + 1
    assert 1 <= most <= subscriptions["messages"] / 19
    assert told["ready_s"] == pytest.approx(told["connections"]["open_s"] + (most - 1) * 0.3)
    memory = told["memory"]
    assert memory["buffer_max_bytes"] == 64 * 1024**2
    assert memory["read_ahead"] == 20 * memory["read_ahead_of_each_connection"] <= 8 * 1024**2
    assert sum(memory[name] for name in ("kafka_queue", "batches", "events", "frames", "read_ahead")) <= 64 * 1024**2


async def test_the_time_to_open_all_is_what_the_budget_takes(autojump_clock):
    budget = AttemptBudget()
    began = trio.current_time()
    for number in range(1, 521):
        await budget.spend()
        if number in (1, 2, 20, 250, 251, 520):
            assert attempts_take_s(number) == pytest.approx(trio.current_time() - began)
    assert attempts_take_s(0) == 0


@pytest.mark.parametrize(("limit", "weight"), [(1000, 50), (100, 5), (5000, 250)])
async def test_the_time_to_write_all_books_is_what_the_budget_takes(limit, weight, autojump_clock):
    settings = Settings(depth_snapshot_limit=limit)
    streams = [f"s{number}@depth" for number in range(500)]
    snapshots = figures(settings, [*streams, "s1@trade", "s1@depth5"]).snapshots
    assert (snapshots.books, snapshots.weight) == (500, weight)
    budget = WeightBudget(settings.rest_weight_per_minute)
    began = trio.current_time()
    most = 0
    for _ in streams:
        await budget.wait_spare(weight)
        await budget.spend(weight)
        most = max(most, budget.used)
    assert snapshots.take_s == trio.current_time() - began
    assert snapshots.weight_a_minute == most <= 0.75 * settings.rest_weight_per_minute


def test_books_that_cannot_be_written_as_often_as_is_set_are_told():
    streams = [f"s{number}@depth" for number in range(2500)]
    (warning,) = judged(streams=streams, depth_snapshot_interval_seconds=3000).warnings
    assert warning == (
        "DEPTH_SNAPSHOT_INTERVAL_SECONDS=3000: 2500 books of weight 50 take 3300 s within 3000 a minute, so each is"
        " written that seldom; DEPTH_SNAPSHOT_LIMIT=100 or less weighs 5"
    )
    assert judged(streams=streams, depth_snapshot_interval_seconds=3000, depth_snapshot_limit=100).warnings == ()


def test_two_connections_a_stream_are_twice_the_connections_and_messages_for_the_same_streams(given, capsys):
    given(BINANCE_SYMBOLS=",".join(f"S{number}USDT" for number in range(500)))
    _, once = planned(capsys, "--offline")
    given(CONNECTIONS_PER_STREAM="2")
    _, twice = planned(capsys, "--offline")
    assert twice["streams"] == once["streams"]
    assert twice["connections"]["streams"] == once["connections"]["streams"] * 2
    for name in ("messages", "bytes"):
        assert twice["subscriptions"][name] == 2 * once["subscriptions"][name]
    assert twice["connections"]["open_s"] > once["connections"]["open_s"]
    assert cli.main(["plan", "--offline"]) == 0
    assert "each on two connections" in capsys.readouterr().out


def test_offline_asks_nobody_and_says_what_it_does_not_know(given, capsys):
    given(BINANCE_SYMBOLS="BTCUSDT,*EUR", BINANCE_STREAM_TYPES="trade,!miniTicker@arr")
    given(BINANCE_REST_URL=f"http://{NOBODY}", KAFKA_BOOTSTRAP_SERVERS=NOBODY, HTTPS_PROXY="http://127.0.0.1:1")
    code, told = planned(capsys, "--offline")
    assert code == 0
    assert told["symbols"]["found"] is None
    assert told["symbols"]["unexpanded"] == ["*EUR"]
    assert told["streams"] == {"count": 2, "by_type": {"trade": 1, "!miniTicker@arr": 1}}
    assert (told["exchange"]["rest"], told["exchange"]["websocket"], told["brokers"]["asked"]) == ([], [], False)
    assert {topic["state"] for topic in told["topics"]} == {"unknown"}
    (warning,) = told["warnings"]
    assert "*EUR" in warning


def test_nobody_there_is_75_and_the_plan_is_told_all_the_same(given, capsys):
    given(BINANCE_WS_URL=f"ws://{NOBODY}", BINANCE_REST_URL=f"http://{NOBODY}", KAFKA_BOOTSTRAP_SERVERS=NOBODY)
    code, told = planned(capsys)
    assert code == 75
    assert told["streams"]["count"] == 20
    assert [text.split(":")[0] for text in told["not_asked"]] == ["exchange, REST", "exchange, WebSocket", "brokers"]
    assert told["exchange"]["rest"][0]["cause"] == "Connection refused"
    assert told["exchange"]["websocket"][0]["hint"]
    assert told["brokers"]["hint"]


def test_bad_settings_are_2(given, capsys):
    given(BATCH_SIZE="0")
    assert cli.main(["plan"]) == 2
    assert "BATCH_SIZE='0'" in capsys.readouterr().err


def test_symbols_are_checked_against_the_exchange(exchange, given, capsys):
    given(exchange, KAFKA_BOOTSTRAP_SERVERS="embedded", BINANCE_SYMBOLS="BTCUSDT,BTCUSTD,*USDT", LOG_FORMAT="console")
    code, told = planned(capsys)
    assert code == 0
    assert told["symbols"]["unlisted"] == {"BTCUSTD": "BTCUSDT"}
    assert told["streams"]["count"] == 12
    assert [endpoint["reachable"] for endpoint in told["exchange"]["rest"]] == [True]
    assert [endpoint["reachable"] for endpoint in told["exchange"]["websocket"]] == [True]
    assert abs(told["exchange"]["clock_offset_ms"]) < 60_000
    assert told["rest_weight"]["at_start"] == 20 + 3 * 50
    assert told["rest_weight"]["book_snapshots"] == {"books": 3, "weight": 50, "weight_a_minute": 150, "take_s": 0}
    assert told["rest_weight"]["used_this_minute"] >= 20
    assert any("BTCUSTD (near: BTCUSDT)" in warning for warning in told["warnings"])


def test_symbols_of_which_none_is_listed_are_a_problem(exchange, given, capsys):
    given(exchange, KAFKA_BOOTSTRAP_SERVERS="embedded", BINANCE_SYMBOLS="BTCUSTD")
    code, told = planned(capsys)
    assert code == 1
    (problem,) = told["problems"]
    assert "BINANCE_SYMBOLS=BTCUSTD: the exchange lists none of these" in problem
    assert "near: BTCUSDT" in problem
    assert told["connections"]["count"] == 0


def test_one_endpoint_of_two_that_is_dead_is_a_warning(exchange, given, capsys):
    given(exchange, KAFKA_BOOTSTRAP_SERVERS="embedded", BINANCE_SYMBOLS="BTCUSDT")
    for name, scheme in (("BINANCE_WS_URL", "ws"), ("BINANCE_REST_URL", "http")):
        given(**{name: f"{scheme}://{NOBODY},{exchange[name]}"})
    code, told = planned(capsys)
    assert code == 0
    assert [endpoint["reachable"] for endpoint in told["exchange"]["rest"]] == [False, True]
    assert told["symbols"]["unlisted"] == {}
    assert [endpoint["reachable"] for endpoint in told["exchange"]["websocket"]] == [False, True]
    dead = [warning for warning in told["warnings"] if NOBODY in warning and "Connection refused" in warning]
    assert len(dead) == 2


def test_a_table_is_for_people(exchange, given, capsys):
    given(exchange, KAFKA_BOOTSTRAP_SERVERS="embedded", BINANCE_SYMBOLS="BTCUSDT,NOSUCHPAIR")
    assert cli.main(["plan"]) == 0
    text = capsys.readouterr().out
    for part in (
        "1 with 4 streams",
        "exchange allows 300",
        "at most",
        "64MiB",
        "binance-trades",
        "30 days",
        "compacted",
        "warning: not listed by the exchange, and left out: NOSUCHPAIR",
        "This can run.",
    ):
        assert part in text
    assert cli.main(["plan", "--offline"]) == 0
    assert "as far as can be told without asking anybody" in capsys.readouterr().out


def simulated(statuses, **headers):
    async def answer(request):
        await trio.lowlevel.checkpoint()
        if request.url.path.endswith("/time"):
            return httpx.Response(200, json={"serverTime": 1_000_000})
        symbols = [{"symbol": name, "status": status} for name, status in statuses.items()]
        return httpx.Response(200, json={"symbols": symbols})

    return httpx.MockTransport(answer)


def test_symbols_that_do_not_trade_and_a_clock_that_is_wrong_are_told(capsys):
    async def refuse(host, port, tls):
        await trio.lowlevel.checkpoint()
        raise OSError("nobody")

    settings = Settings(binance_symbols="BTCUSDT,OLDUSDT", kafka_bootstrap_servers="embedded")
    transport = simulated({"BTCUSDT": "TRADING", "OLDUSDT": "BREAK"})
    assert plan(settings, offline=False, as_json=True, connect=refuse, rest_transport=transport) == 75
    told = json.loads(capsys.readouterr().out)
    assert told["symbols"]["not_trading"] == {"OLDUSDT": "BREAK"}
    assert any("OLDUSDT (BREAK)" in warning for warning in told["warnings"])
    assert any("s ahead of the exchange's" in warning for warning in told["warnings"])


def test_an_exchange_that_answers_one_question_and_not_the_other_is_75(capsys):
    async def answer(request):
        await trio.lowlevel.checkpoint()
        if request.url.path.endswith("/time"):
            return httpx.Response(200, json={"serverTime": 1})
        return httpx.Response(451)

    async def refuse(host, port, tls):
        await trio.lowlevel.checkpoint()
        raise OSError("nobody")

    settings = Settings(kafka_bootstrap_servers="embedded")
    transport = httpx.MockTransport(answer)
    assert plan(settings, offline=False, as_json=True, connect=refuse, rest_transport=transport) == 75
    told = json.loads(capsys.readouterr().out)
    assert "HTTP 451" in told["not_asked"][0]
    assert told["streams"]["count"] == 20


def judged(brokers=(), *, websockets=(), streams=("btcusdt@trade",), **given):
    settings = Settings(**given)
    exchange = Exchange(Symbols(("BTCUSDT",), streams, 1), websockets=list(websockets))
    return judge(
        settings,
        figures(settings, streams),
        exchange,
        Brokers("x", asked=True, reachable=True, count=3, topics=list(brokers)),
    )


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        (Topic("t", "missing", 6, 3), "KAFKA_CREATE_TOPICS=false: t; `setup-topics` creates them"),
        (Topic("t", "to be created", 6, 4), "4 replicas of a topic do not fit on 3 broker(s)"),
        (Topic("t", "exists", 6, 1, in_sync_min=2), "no record would be taken: t"),
    ],
)
def test_topics_that_could_not_be_written_are_problems(topic, problem):
    findings = judged([topic])
    assert problem in findings.problems[0]
    assert findings.exit_code == 1


@pytest.mark.parametrize(
    ("topic", "warning"),
    [
        (Topic("t", "exists", 6, 3, in_sync_min=3), "one broker away stops the writing: t"),
        (Topic("t", "exists", 6, 1, in_sync_min=1), "one broker lost loses records: t"),
        (Topic("t", "exists", 6, 3, message_bytes_max=1000), "max.message.bytes below 262144: t"),
        (
            Topic("t", "drift", 6, 3, drift=(Drift("t", "retention.ms", "1", "2", mendable=True),)),
            "topic t: retention.ms is 2, not 1; `run` leaves it so, `setup-topics --apply` mends it",
        ),
    ],
)
def test_topics_that_are_not_what_they_should_be_are_warnings(topic, warning):
    findings = judged([topic])
    assert warning in findings.warnings[0]
    assert (findings.problems, findings.exit_code) == ((), 0)


def test_other_figures_that_are_too_large_are_told():
    findings = judged(rest_weight_per_minute=10)
    assert any("REST_WEIGHT_PER_MINUTE=10" in warning for warning in findings.warnings)
    settings = Settings(buffer_max_bytes=1024**2, ws_message_max_bytes=1024**2)
    streams = [f"s{number}@trade" for number in range(300 * 1024)]
    exchange = Exchange(Symbols(("*",), tuple(streams), 300 * 1024))
    warnings = judge(settings, figures(settings, streams), exchange, Brokers("x")).warnings
    assert any("300 connections are more than the 250 attempts" in warning for warning in warnings)
    assert any("BUFFER_MAX_BYTES=1048576" in warning for warning in warnings)


def test_who_lacks_the_right_to_write_is_told_and_weighs_more_than_who_was_not_asked():
    settings = Settings()
    exchange = Exchange(Symbols((), ("a@trade",), 1), rest=[Endpoint("https://a", reachable=False, cause="no")])
    brokers = Brokers("x", asked=True, reachable=True, count=1, unwritable=("t",))
    findings = judge(settings, figures(settings, ("a@trade",)), exchange, brokers)
    assert findings.problems == ("no right to write to: t; grant WRITE",)
    assert (findings.unasked, findings.exit_code) == (("exchange, REST: https://a: no",), 1)


def test_many_names_are_cut_short():
    assert names(["a"] * 12) == ", ".join(["a"] * 10) + " and 2 more"


@pytest.fixture
def topics(broker, topic_prefix, monkeypatch):
    """Names of topics of this test alone; the settings that lead to them."""
    found = {name: f"{topic_prefix}{name.lower()}" for name in TOPICS}
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    for name, topic in found.items():
        monkeypatch.setenv(f"KAFKA_TOPIC_{name}", topic)
    return found


@pytest.mark.broker
def test_topics_are_looked_at_and_nothing_is_changed(broker, topics, exchange, given, capsys):
    given(exchange, BINANCE_SYMBOLS="BTCUSDT")
    for _ in range(2):
        code, told = planned(capsys)
        assert code == 0
        assert {topic["name"]: topic["state"] for topic in told["topics"]} == dict.fromkeys(
            topics.values(), "to be created"
        )
    assert (told["brokers"]["reachable"], told["brokers"]["count"]) == (True, 1)
    assert {topic["replication"] for topic in told["topics"]} == {1}
    assert told["topics"][3]["message_bytes_max"] == 8 * 1024**2

    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    retained = NewTopic(topics["TRADES"], 2, config={"retention.ms": "-1", "min.insync.replicas": "2"})
    next(iter(admin.create_topics([retained]).values())).result(20)
    given(KAFKA_CREATE_TOPICS="false")
    code, told = planned(capsys)
    trades = told["topics"][1]
    assert (code, trades["state"], trades["partitions"], trades["retention_ms"]) == (1, "drift", 2, -1)
    assert [drift["what"] for drift in trades["drift"]] == ["partitions", "retention.ms"]
    assert trades["in_sync_min"] == 2
    assert len(told["problems"]) == 2
    assert cli.main(["plan"]) == 1
    assert "for ever" in capsys.readouterr().out
    assert cli.main(["setup-topics"]) == 0
    capsys.readouterr()
    assert planned(capsys)[1]["topics"][0]["state"] == "exists"
    assert planned(capsys)[1]["topics"][5]["retention_ms"] is None
