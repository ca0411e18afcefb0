from __future__ import annotations

import base64
import re
import socket
import time

import httpx
import pytest
import trio

from ingest_actors.console import app as app_module
from ingest_actors.console import http as http_module
from ingest_actors.console import server as server_module
from ingest_actors.console.heartbeat import Heartbeat
from ingest_actors.console.http import http_url, listen, serve_http
from ingest_actors.errors import HttpUnavailable, IngestError

TOKEN = "a long token"


@pytest.fixture
async def server(status, nursery):
    return await serve(nursery, lambda: status)


async def serve(nursery, status, **options):
    options = {"host": "127.0.0.1", "port": 0, "instance": "binance-ingest"} | options

    async def run(task_status):
        await serve_http(status, **options, task_status=task_status)

    return await nursery.start(run)


async def get(url, path="/", **options):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url + path, **options)


async def test_healthz_is_ok_while_the_loop_turns(server):
    answer = await get(server, "/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert 0 <= answer.json()["loop_lag_s"] < 5


async def test_healthz_does_not_fail_for_an_outage_elsewhere(make_status, make_sink_status, nursery):
    down = make_status(connections=(), sink=make_sink_status(reachable=False))
    url = await serve(nursery, lambda: down)
    assert (await get(url, "/healthz")).status_code == 200


async def test_healthz_does_not_even_look_at_the_service(nursery):
    def broken():
        raise AssertionError("looked")

    assert (await get(await serve(nursery, broken), "/healthz")).status_code == 200


async def test_healthz_fails_after_a_stall_of_five_seconds(server, monkeypatch):
    monkeypatch.setattr(Heartbeat, "lag_s", lambda _: 5.0)
    answer = await get(server, "/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "the event loop is stalled", "loop_lag_s": 5.0}


async def test_heartbeat_measures_a_stall(autojump_clock, nursery):
    heartbeat = Heartbeat()
    assert heartbeat.lag_s() == 0
    nursery.start_soon(heartbeat.run)
    await trio.sleep(10.5)
    assert heartbeat.lag_s() == 0
    autojump_clock.jump(7)  # as if something had blocked the thread
    assert heartbeat.lag_s() == pytest.approx(6.5)
    await trio.sleep(0.1)  # the beat comes, late
    assert heartbeat.lag_s() == pytest.approx(6.5)
    await trio.sleep(1)  # the next one is on time again
    assert heartbeat.lag_s() == pytest.approx(0)


async def test_readyz_is_ready_when_all_is_open(server):
    answer = await get(server, "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})


async def test_readyz_tells_every_reason(make_status, make_connection, make_sink_status, nursery):
    status = make_status(
        connections=(make_connection("ws-1"), make_connection("ws-2", "waiting")),
        sink=make_sink_status(reachable=False, detail="connection refused"),
    )
    answer = await get(await serve(nursery, lambda: status), "/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "reasons": ["connection ws-2 is waiting", "Kafka does not accept: connection refused"],
    }


async def test_metrics_are_served_in_the_format_asked_for(server):
    answer = await get(server, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'ingest_actors_received_total{event_type="aggregate_trade"} 1000.0' in answer.text
    answer = await get(server, "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


async def test_programs_get_json_and_people_get_a_page(server):
    answer = await get(server)
    assert answer.json()["messages_received"] == 1500
    assert answer.json()["links"]["metrics"] == "/metrics"
    answer = await get(server, headers={"accept": "text/html,application/xhtml+xml"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "It balances." in answer.text
    assert '<td class="num">1,000</td>' in answer.text
    assert "wss://stream.example:9443/stream" in answer.text
    assert "Is my data whole?" in answer.text


async def test_the_page_says_what_is_wrong_and_escapes_it(make_status, make_connection, nursery):
    connection = make_connection("<b>ws</b>", "waiting", opened_at_ms=None)
    status = make_status(connections=(connection,), ledger={}, rates={})
    url = await serve(nursery, lambda: status, instance="<script>")
    text = (await get(url, headers={"accept": "text/html"})).text
    assert "<script>" not in text
    assert "<b>" not in text
    assert "<li>&lt;b&gt;ws&lt;/b&gt; is waiting" in text


async def test_the_page_shows_a_ledger_that_does_not_balance(make_status, status, nursery):
    entry = status.ledger["depth_update"]
    off = make_status(ledger={"depth_update": type(entry)(received=5, delivered=3)})
    text = (await get(await serve(nursery, lambda: off), headers={"accept": "text/html"})).text
    assert "It does not balance: {&#x27;depth_update&#x27;: 2}" in text
    assert "a defect of this program" in text


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/assets/console.js", "/nothing-here"])
async def test_every_answer_carries_the_security_headers(server, path):
    headers = (await get(server, path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers


async def test_the_page_is_made_of_what_the_content_security_policy_allows(server):
    answer = await get(server, headers={"accept": "text/html"})
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert " on" not in "".join(re.findall(r"<\w+([^>]*)>", answer.text))
    assert re.findall(r"<script([^>]*)>([^<]*)", answer.text) == [(' type="module" src="/assets/console.js"', "")]
    assert not re.findall(r'(?:src|href)="(?!/|#)', answer.text)


@pytest.mark.parametrize("name", app_module.ASSETS)
async def test_every_asset_is_served_as_what_it_is(server, name):
    answer = await get(server, f"/assets/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == app_module.ASSETS[name]
    assert "http:" not in answer.text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("path", ["/assets/app.py", "/assets/..%2fapp.py", "/assets/", "/assets/%2e%2e/app.py"])
async def test_nothing_but_the_assets_is_served(server, path):
    assert (await get(server, path)).status_code == 404


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, 401),
        ("Bearer a long token", 200),
        ("bearer a long token", 200),
        ("Basic " + base64.b64encode(b"anybody:a long token").decode(), 200),
        ("Basic " + base64.b64encode(b"anybody:wrong").decode(), 401),
        ("Basic !!!", 401),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        ("Digest a long token", 401),
    ],
)
async def test_a_token_guards_the_page(status, nursery, header, code):
    url = await serve(nursery, lambda: status, token=TOKEN)
    answer = await get(url, headers={} if header is None else {"authorization": header})
    assert answer.status_code == code
    assert ("1500" in answer.text) == (code == 200)
    assert ("www-authenticate" in answer.headers) == (code == 401)


@pytest.mark.parametrize("path", ["/events", "/assets/console.js"])
async def test_a_token_guards_what_belongs_to_the_page(status, nursery, path):
    url = await serve(nursery, lambda: status, token=TOKEN)
    assert (await get(url, path)).status_code == 401
    async with httpx.AsyncClient(trust_env=False, auth=("anybody", TOKEN)) as client:
        assert (await client.head(url + path)).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_token_never_guards_health_and_metrics(status, nursery, path):
    url = await serve(nursery, lambda: status, token=TOKEN)
    assert (await get(url, path)).status_code == 200


async def test_only_reading_is_possible(server):
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in ("/", "/healthz", "/metrics", "/events", "/assets/console.js"):
            assert (await client.post(server + path, content=b"x" * 100_000)).status_code == 405
        assert (await client.head(server + "/healthz")).status_code == 200


async def test_a_bug_behind_a_request_is_a_500_and_the_server_goes_on(nursery, monkeypatch):
    logged = []

    class Log:
        def exception(self, event, **fields):
            logged.append((event, fields["path"], fields["error"]))

    def broken():
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(app_module, "log", Log())
    url = await serve(nursery, broken)
    answer = await get(url, "/readyz")
    assert (answer.status_code, answer.text) == (500, "internal error; see the log\n")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert logged == [("http_request_failed", "/readyz", "ZeroDivisionError('oops')")]
    assert (await get(url, "/healthz")).status_code == 200


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HT",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\xff\xff\xff"
        ),
        b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000,
    ],
)
async def test_rubbish_is_turned_away_and_the_server_goes_on(server, rubbish):
    host, _, port = server.removeprefix("http://").rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    with trio.fail_after(5):
        try:
            await stream.send_all(rubbish)
            await stream.send_eof()
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
    await trio.aclose_forcefully(stream)
    assert (await get(server, "/healthz")).status_code == 200


async def test_a_head_of_a_hundred_kilobytes_is_refused(server):
    answer = await get(server, "/healthz", headers={"x": "a" * 100_000})
    assert answer.status_code in (400, 431)


async def test_one_connection_serves_many_requests(server):
    async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(20):
            assert (await client.get(server + "/healthz")).status_code == 200


async def test_cancellation_ends_it_at_once_whatever_clients_do(status):
    async with trio.open_nursery() as nursery:
        url = await serve(nursery, lambda: status)
        host, _, port = url.removeprefix("http://").rpartition(":")
        idle = await trio.open_tcp_stream(host, int(port))
        await idle.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await idle.receive_some()).startswith(b"HTTP/1.1 200")
        halfway = await trio.open_tcp_stream(host, int(port))
        await halfway.send_all(b"GET /healthz HT")
        silent = await trio.open_tcp_stream(host, int(port))
        started = time.monotonic()
        nursery.cancel_scope.cancel()
    assert time.monotonic() - started < 2
    for stream in (idle, halfway, silent):
        await stream.aclose()
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream(host, int(port))


async def test_an_answer_under_way_is_finished_when_the_service_ends(status):
    asked, answers = trio.Event(), []

    def slow():
        asked.set()
        return status

    async with trio.open_nursery() as nursery:
        url = await serve(nursery, slow)

        async def ask():
            with trio.CancelScope(shield=True):
                answers.append(await get(url, "/metrics"))

        nursery.start_soon(ask)
        await asked.wait()
        nursery.cancel_scope.cancel()
    assert [answer.status_code for answer in answers] == [200]


async def test_a_port_that_is_taken_is_told_by_name_before_the_start(status):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            HttpUnavailable, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"
        ) as found:
            await serve_http(lambda: status, host="127.0.0.1", port=port, instance="x")
    assert isinstance(found.value, IngestError)
    assert found.value.exit_code == 1
    assert (found.value.host, found.value.port) == ("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7"])
async def test_an_address_that_is_not_ours_is_told(status, host):
    with pytest.raises(HttpUnavailable, match=f"cannot listen on {host}:0: "):
        await serve_http(lambda: status, host=host, port=0, instance="x")


async def test_localhost_listens_on_one_port_for_every_address():
    sockets = await listen("localhost", 0)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        assert "127.0.0.1" in {sock.getsockname()[0] for sock in sockets}
    finally:
        for sock in sockets:
            sock.close()


async def test_ipv6_is_served(status, nursery):
    try:
        url = await serve(nursery, lambda: status, host="::1")
    except HttpUnavailable:
        pytest.skip("this machine has no IPv6 loopback")
    assert url.startswith("http://[::1]:")
    assert (await get(url, "/healthz")).status_code == 200


async def test_all_addresses_are_reached_through_the_loopback_one(status, nursery):
    url = await serve(nursery, lambda: status, host="0.0.0.0")
    assert url.startswith("http://127.0.0.1:")
    assert (await get(url, "/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"), ("0.0.0.0", "http://127.0.0.1:8000"), ("", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"), ("fe80::1", "http://[fe80::1]:8000"), ("box.local", "http://box.local:8000"),
    ],
)  # fmt: skip
def test_the_url_is_one_that_can_be_asked(host, url):
    assert http_url(host, 8000) == url


async def test_a_server_that_crashes_is_started_again_on_the_same_port(status, nursery, monkeypatch):
    logged = []

    class Log:
        def exception(self, event, **fields):
            logged.append((event, fields["error"]))

    crash, real, lives = trio.Event(), server_module._accept_until, []

    async def crashing(*args, **options):
        lives.append(None)
        if len(lives) == 1:
            await crash.wait()
            raise ZeroDivisionError
        await real(*args, **options)

    monkeypatch.setattr(server_module, "_accept_until", crashing)
    monkeypatch.setattr(http_module, "RESTART_S", 0.01)
    monkeypatch.setattr(http_module, "log", Log())
    url = await serve(nursery, lambda: status)
    crash.set()
    assert (await get(url, "/healthz")).status_code == 200
    assert len(lives) == 2
    assert [event for event, _ in logged] == ["http_server_failed"]


async def test_a_server_that_cannot_be_imported_ends_nothing(status, nursery, monkeypatch):
    logged, imports, again = [], [], trio.Event()

    class Log:
        def exception(self, event, **fields):
            logged.append((event, fields["error"]))

    real = http_module.import_module

    def failing_once(name):
        imports.append(name)
        if len(imports) == 1:
            raise ImportError("half installed")
        trio.from_thread.run_sync(again.set)
        return real(name)

    monkeypatch.setattr(http_module, "import_module", failing_once)
    monkeypatch.setattr(http_module, "RESTART_S", 0.01)
    monkeypatch.setattr(http_module, "log", Log())
    url = await serve(nursery, lambda: status)
    await again.wait()
    assert (await get(url, "/healthz")).status_code == 200
    assert logged == [("http_server_failed", "ImportError('half installed')")]


async def test_nothing_is_printed_or_logged_for_a_request(server, capfd):
    await get(server, "/healthz")
    await get(server, "/nothing-here")
    assert capfd.readouterr() == ("", "")
