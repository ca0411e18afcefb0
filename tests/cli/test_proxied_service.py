"""The service as a process whose only way out is a proxy, before a simulated exchange: REST and WebSocket."""

from __future__ import annotations

import signal

import pytest
from programs import Program

from connect_proxy import ProxyThread

SECRET = "hunter2-swordfish"
CREDENTIALS = f"me:{SECRET}"


@pytest.fixture(scope="module", params=["plain", "TLS"])
def exchange(request, tmp_path_factory):
    """A simulated exchange; the settings that lead to it."""
    more = ["--tls"] if request.param == "TLS" else []
    program = Program.start("simulate", "--symbols", "BTCUSDT", *more, cwd=tmp_path_factory.mktemp("exchange"))
    ready = program.answer()
    settings = {
        "BINANCE_SYMBOLS": "BTCUSDT",
        "BINANCE_WS_URL": ready["ws_url"],
        "BINANCE_REST_URL": ready["rest_url"],
        "KAFKA_BOOTSTRAP_SERVERS": "embedded",
        "HTTP_PORT": "off",
        "MONITOR_INTERVAL_SECONDS": "0.2",
        "RECONNECT_INTERVAL": "0.2",
        "MAX_RETRIES": "0",
    }
    if more:
        settings["SSL_CERT_FILE"] = ready["ca_file"]
    yield settings
    program.kill()


@pytest.fixture
def proxy():
    """A proxy that wants a password."""
    proxy = ProxyThread(credentials=CREDENTIALS).start()
    yield proxy
    proxy.kill()


def with_password(proxy):
    return proxy.proxy.url.replace("://", f"://{CREDENTIALS}@")


def wait_for_more(service):
    """Until more is delivered than was; how much."""
    before = service.wait_for("service_metrics")["messages_processed"]
    while (now := service.wait_for("service_metrics")["messages_processed"]) <= before:
        pass
    return now


def test_the_service_lives_behind_a_proxy_that_dies_and_comes_back(start, exchange, proxy):
    service = start("run", **exchange, ALL_PROXY=with_password(proxy))
    opened = service.wait_for("connection_opened")
    shown = proxy.proxy.url.replace("://", "://***@")
    assert opened["proxy"] == shown
    wait_for_more(service)
    rest, websocket = (exchange[name].partition("://")[2] for name in ("BINANCE_REST_URL", "BINANCE_WS_URL"))
    assert websocket in proxy.proxy.asked
    assert any(rest in target for target in proxy.proxy.asked)

    proxy.kill()
    assert service.wait_for("connection_closed")["code"] == 1006
    failed = service.wait_for("websocket_connection_failed")
    assert failed["cause"] == f"proxy {shown}: Connection refused"
    assert "ALL_PROXY" in failed["hint"]

    proxy.start()
    assert service.wait_for("connection_opened")["proxy"] == shown
    wait_for_more(service)
    service.send(signal.SIGTERM)
    assert service.end() == 0
    last = service.log()[-1]
    ledger = last["ledger"]
    assert ledger["received"] + ledger["backfilled"] == ledger["delivered"] > 0
    first = service.log()[0]
    assert first["proxies"] == {"ALL_PROXY": shown}
    output = "".join(service.stdout + service.stderr)
    assert SECRET not in output
    assert "bWU6aHVudGVy" not in output, "nor in base64"


def test_a_wrong_password_is_told_as_the_proxys_refusal(start, exchange, proxy):
    wrong = proxy.proxy.url.replace("://", "://me:wrong-one@")
    service = start("run", **exchange | {"MAX_RETRIES": "1"}, HTTPS_PROXY=wrong, HTTP_PROXY=wrong)
    assert service.end() == 75
    (failed,) = [line for line in service.log() if line["event"] == "websocket_connection_failed"]
    assert failed["cause"].endswith("HTTP 407 Proxy Authentication Required")
    assert "HTTPS_PROXY: http://user:password@host:port" in failed["hint"]
    unchecked = next(line for line in service.log() if line["event"] == "symbols_unchecked")
    assert "407" in unchecked["cause"]
    assert "wrong-one" not in "".join(service.stdout + service.stderr)


def test_what_no_proxy_names_is_reached_directly(start, exchange, proxy):
    service = start("run", **exchange, ALL_PROXY="http://127.0.0.1:1", NO_PROXY="localhost,127.0.0.0/8,bad/one/more")
    assert "proxy" not in service.wait_for("connection_opened")
    wait_for_more(service)
    service.send(signal.SIGTERM)
    assert service.end() == 0
    assert any("bad/one/more" in line.get("warning", "") for line in service.log())


def test_a_malformed_proxy_is_refused_at_start(start, exchange):
    service = start("run", **exchange, ALL_PROXY=f"socks5://{CREDENTIALS}@proxy.test:1080")
    assert service.end() == 2
    (line,) = service.log()
    assert line["event"] == "settings_refused"
    (problem,) = line["problems"]
    assert problem.startswith("ALL_PROXY='socks5://***@proxy.test:1080': ")
    assert "accepted: http://host:port or https://host:port" in problem
    assert SECRET not in "".join(service.stdout + service.stderr)


def test_the_file_of_settings_may_name_the_proxy_and_the_environment_has_more_say(start, exchange, proxy, tmp_path):
    settings = exchange | {"ALL_PROXY": with_password(proxy), "NO_PROXY": "elsewhere.test"}
    (tmp_path / "my.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    trust = {name: exchange[name] for name in ("SSL_CERT_FILE",) if name in exchange}
    service = start("run", "--env-file", "my.env", **trust)
    assert service.wait_for("connection_opened")["proxy"].startswith("http://***@")
    service.send(signal.SIGTERM)
    assert service.end() == 0
    service = start("run", "--env-file", "my.env", **trust, no_proxy="*")
    assert "proxy" not in service.wait_for("connection_opened")
    service.send(signal.SIGTERM)
    assert service.end() == 0


def test_a_plan_is_made_through_the_proxy_too(start, exchange, proxy):
    program = start("plan", "--format", "json", **exchange, ALL_PROXY=with_password(proxy))
    told = program.answer()
    assert program.end() == 0
    shown = proxy.proxy.url.replace("://", "://***@")
    assert [endpoint["proxy"] for endpoint in told["exchange"]["rest"]] == [shown]
    assert [endpoint["proxy"] for endpoint in told["exchange"]["websocket"]] == [shown]
