"""Which proxy leads where: as httpx decides, for the WebSocket and for REST alike; nobody's password is shown."""

import ssl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.binance.rest_ways import open_client
from ingest_actors.checks import start_problems
from ingest_actors.proxies import Proxies
from ingest_actors.settings import Settings

SECRET = "hunter2-swordfish"
PROXY = "http://p.test:3128"
EXCHANGE = "stream.exchange.test"


def shown(environ, url):
    proxy = Proxies(environ).for_url(url)
    return proxy.shown if proxy else None


@pytest.mark.parametrize(
    ("url", "order"),
    [
        ("wss://a.test:9443", ["HTTPS_PROXY", "ALL_PROXY"]),
        ("https://a.test", ["HTTPS_PROXY", "ALL_PROXY"]),
        ("http://a.test", ["HTTP_PROXY", "ALL_PROXY"]),
        ("ws://a.test", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"]),
    ],
)
def test_each_scheme_has_its_variables_and_the_first_that_is_set_counts(url, order):
    environ = {name: f"http://{name.replace('_', '-')}.test:1" for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")}
    for name in order:
        assert shown(environ, url) == f"http://{name.replace('_', '-').lower()}.test:1"
        del environ[name]
    assert shown(environ, url) is None


def test_lower_case_goes_before_upper_case_and_an_empty_one_switches_it_off():
    environ = {"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:2"}
    assert shown(environ, "wss://a.test") == "http://lower:2"
    assert shown(environ | {"https_proxy": ""}, "wss://a.test") is None
    assert shown({"HTTPS_PROXY": " "}, "wss://a.test") is None


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("p.test:3128", "http://p.test:3128"),
        ("http://p.test", "http://p.test:80"),
        ("https://p.test/", "https://p.test:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        (f"http://me:{SECRET}@p.test:1", "http://***@p.test:1"),
        ("http://me@p.test:1", "http://***@p.test:1"),
        ("HTTP://P.Test.:1", "http://p.test:1"),
        ("http://bücher.test:1", "http://xn--bcher-kva.test:1"),
    ],
)
def test_a_proxy_is_written_in_the_usual_ways(written, address):
    assert shown({"HTTPS_PROXY": written}, "wss://a.test") == address


def test_user_name_and_password_may_hold_anything_percent_encoded():
    proxy = Proxies({"ALL_PROXY": "http://a%40b:c%3A%2Fd%C3%A9@p.test:1"}).for_url("wss://a.test")
    assert (proxy.username, proxy.password, proxy.variable) == ("a@b", "c:/dé", "ALL_PROXY")
    assert proxy.url == "http://p.test:1"
    assert repr(proxy) == "Proxy('http://***@p.test:1', variable='ALL_PROXY')"


@pytest.mark.parametrize(
    ("value", "told", "reason"),
    [
        (f"socks5://me:{SECRET}@p.test:1080", "socks5://***@p.test:1080", "'socks5' cannot be used"),
        ("socks4://p.test", "socks4://p.test", "'socks4' cannot be used"),
        (f"http://me:{SECRET}@p.test:port", "http://***@p.test:port", "host or port cannot be read"),
        (f"me:{SECRET}/@p.test:1", "***@p.test:1", "host or port cannot be read"),
        ("http://p.test:99999", "http://p.test:99999", "host or port cannot be read"),
        ("http://p.test:0", "http://p.test:0", "nothing else"),
        (f"http://me:{SECRET}@", "http://***@", "it is no address"),
        ("http://:3128", "http://:3128", "it is no address"),
        ("http://p test:1", "http://p test:1", "it is no address"),
        ("http://p.test:1/path", "http://p.test:1/path", "nothing else"),
        ("http://p.test:1?x", "http://p.test:1?x", "nothing else"),
        ("http://[::1", "http://[::1", "host or port cannot be read"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_at_start_by_name_with_the_value_masked(
    monkeypatch, value, told, reason
):
    monkeypatch.setenv("HTTPS_PROXY", value)
    (problem,) = start_problems(Settings())
    assert problem.startswith(f"HTTPS_PROXY={told!r}: ")
    assert reason in problem
    assert "accepted: http://host:port or https://host:port" in problem
    assert SECRET not in problem


def test_a_proxy_that_nothing_goes_by_is_nobodys_business(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://desktop.test:1080")
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert start_problems(Settings()) == []
    monkeypatch.setenv("HTTPS_PROXY", "socks5://desktop.test:1080")
    monkeypatch.setenv("NO_PROXY", "binance.com")
    assert start_problems(Settings()) == []
    assert len(start_problems(Settings(binance_rest_url="https://api.elsewhere.test"))) == 1


DIRECT = [
    ("stream.exchange.test", "wss://stream.exchange.test:9443", True),
    ("exchange.test", "wss://stream.exchange.test:9443", True),
    ("exchange.test", "wss://exchange.test", True),
    ("exchange.test", "wss://myexchange.test", False),
    (".exchange.test", "wss://stream.exchange.test", True),
    (".exchange.test", "wss://exchange.test", False),
    ("*.exchange.test", "wss://stream.exchange.test", True),
    ("EXCHANGE.Test", "wss://Stream.Exchange.TEST.", True),
    ("other.test, exchange.test ,", "wss://exchange.test", True),
    ("*", "wss://exchange.test", True),
    ("other.test,*", "wss://exchange.test", True),
    ("", "wss://exchange.test", False),
    ("exchange.test:9443", "wss://exchange.test:9443", True),
    ("exchange.test:9443", "wss://exchange.test", False),
    ("exchange.test:443", "wss://exchange.test", True),
    ("localhost", "ws://localhost:8080", True),
    ("127.0.0.1", "ws://127.0.0.1:8080", True),
    ("127.0.0.1", "ws://127.0.0.2:8080", False),
    ("127.0.0.0/8", "ws://127.0.0.2:8080", True),
    ("10.0.0.0/8", "wss://exchange.test", False),
    ("127.0.0.1:8080", "ws://127.0.0.1:8080", True),
    ("127.0.0.1:8080", "ws://127.0.0.1:8081", False),
    ("::1", "ws://[::1]:8080", True),
    ("[::1]:8080", "ws://[::1]:8080", True),
    ("fd00::/8", "ws://[fd00::1]", True),
    ("https://exchange.test", "wss://exchange.test", True),
    ("http://exchange.test", "wss://exchange.test", False),
    ("all://exchange.test", "wss://exchange.test", True),
    ("bücher.test", "wss://xn--bcher-kva.test", True),
]
BEYOND_HTTPX = {"127.0.0.0/8", "fd00::/8", "exchange.test:443", "*.exchange.test", "EXCHANGE.Test", "[::1]:8080"}
"""What httpx takes for other things than people mean by it: networks, the scheme's own port, a star before a dot."""

REST = {"wss": "https", "ws": "http"}


@pytest.mark.parametrize(("no_proxy", "url", "direct"), DIRECT)
def test_the_websocket_and_rest_are_direct_for_the_same_addresses(no_proxy, url, direct, monkeypatch):
    environ = {"ALL_PROXY": PROXY, "NO_PROXY": no_proxy}
    assert (shown(environ, url) is None) is direct
    scheme, _, rest = url.partition("://")
    asked = f"{REST[scheme]}://{rest}"
    assert (shown(environ, asked) is None) is direct
    client = open_client([asked], proxies=Proxies(environ), timeout_s=1)
    assert (client._transport_for_url(httpx.URL(asked)) is client._transport) is direct
    if no_proxy in BEYOND_HTTPX or rest.startswith("xn--"):
        return
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    plain = httpx.AsyncClient()
    assert (plain._transport_for_url(httpx.URL(asked)) is plain._transport) is direct


def test_a_direct_port_beside_a_proxied_one_of_the_same_host_stays_direct():
    bases = ["https://a.test", "https://a.test:8443"]
    client = open_client(bases, proxies=Proxies({"ALL_PROXY": PROXY, "NO_PROXY": "a.test:8443"}), timeout_s=1)
    ways = [client._transport_for_url(httpx.URL(base)) is client._transport for base in bases]
    assert ways == [False, True]


@pytest.mark.parametrize(
    ("bases", "environ", "read"),
    [
        (["http://a.test", "http://[::1]:80"], {}, 0),
        (["http://a.test"], {"HTTP_PROXY": "http://p.test:1"}, 0),
        (["http://a.test"], {"HTTP_PROXY": "https://p.test:1"}, 1),
        (["http://a.test", "https://b.test"], {}, 1),
        (["HTTPS://b.test"], {}, 1),
        (["https://b.test"], {"HTTPS_PROXY": PROXY}, 1),
    ],
)
def test_authorities_are_read_only_where_somebody_speaks_tls(bases, environ, read):
    contexts = []

    def trusted():
        contexts.append(ssl.create_default_context())
        return contexts[-1]

    open_client(bases, proxies=Proxies(environ), timeout_s=1, trusted=trusted)
    assert len(contexts) == read


def test_where_nobody_speaks_tls_nobody_is_trusted():
    client = open_client(["http://a.test"], proxies=Proxies({}), timeout_s=1)
    context = client._transport._pool._ssl_context
    assert (context.verify_mode, context.check_hostname, context.get_ca_certs()) == (ssl.CERT_REQUIRED, True, [])


@given(st.text(), st.text())
def test_no_text_makes_the_decision_fail(proxy, no_proxy):
    proxies = Proxies({"HTTPS_PROXY": proxy, "NO_PROXY": no_proxy})
    assert all(problem.startswith("HTTPS_PROXY=") for problem in proxies.problems(["wss://a.test"]))
    proxies.warnings()
    proxies.shown()


def test_what_nobody_understands_in_no_proxy_is_told():
    proxies = Proxies({"NO_PROXY": "a.test,<local>/x,10.0.0.0/99,ftp://b.test,*"})
    assert [warning.split("'")[1] for warning in proxies.warnings()] == ["<local>/x", "10.0.0.0/99", "ftp://b.test"]


def test_what_is_set_is_shown_masked():
    given = {"HTTPS_PROXY": f"http://me:{SECRET}@p.test:1", "no_proxy": "a.test", "HTTP_PROXY": f"{SECRET}@x"}
    assert Proxies(given).shown() == {
        "HTTPS_PROXY": "http://***@p.test:1",
        "HTTP_PROXY": "***@x",
        "NO_PROXY": "a.test",
    }
