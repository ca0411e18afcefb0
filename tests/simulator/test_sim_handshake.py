"""Stream URLs, and the limits on how often one may knock."""

import pytest

from ingest_actors.simulator.handshake import HandshakeLimiter, MessageLimiter, Target, parse_target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/ws", Target(combined=False, streams=())),
        ("/ws/", Target(combined=False, streams=())),
        ("/ws/0", Target(combined=False, streams=())),
        ("/ws/btcusdt@trade", Target(combined=False, streams=("btcusdt@trade",))),
        ("/ws/a@trade/b@depth@100ms", Target(combined=False, streams=("a@trade", "b@depth@100ms"))),
        ("/ws/a%40trade%2Fb%40trade", Target(combined=False, streams=("a@trade", "b@trade"))),
        ("/stream", Target(combined=True, streams=())),
        ("/stream?streams=", Target(combined=True, streams=())),
        ("/stream?streams=a@trade/b@trade/a@trade", Target(combined=True, streams=("a@trade", "b@trade"))),
        ("/stream?streams=a%40trade%2F%E5%B8%81usdt%40trade", Target(combined=True, streams=("a@trade", "币usdt@trade"))),  # noqa: E501
        ("/stream?streams=a@kline_1d@+08:00", Target(combined=True, streams=("a@kline_1d@+08:00",))),
        ("/stream?streams=a@kline_1d@%2B08:00", Target(combined=True, streams=("a@kline_1d@+08:00",))),
        ("/stream?streams=a@trade&timeUnit=MILLISECOND", Target(combined=True, streams=("a@trade",))),
        ("/stream?timeUnit=millisecond", Target(combined=True, streams=())),
        ("/stream?timeUnit=microsecond", Target(combined=True, streams=(), microseconds=True)),
        ("/ws/a@trade?timeUnit=MICROSECOND", Target(combined=False, streams=("a@trade",), microseconds=True)),
        ("/ws?timeUnit=second", Target(combined=False, streams=(), microseconds=None)),
        ("/", None),
        ("/stream/xyz", None),
        ("/api/v3/ping", None),
    ],
)  # fmt: skip
def test_a_url_says_what_is_wanted(target, expected):
    assert parse_target(target) == expected


def test_the_301st_attempt_in_five_minutes_is_refused():
    limiter = HandshakeLimiter(300, 300)
    assert [limiter.attempt("a", second / 2) for second in range(300)] == [None] * 300
    assert limiter.attempt("a", 150) == 429
    assert limiter.attempt("b", 150) is None
    assert limiter.attempt("a", 301) is None


def test_an_address_that_goes_on_regardless_is_banned():
    limiter = HandshakeLimiter(3, 300)
    assert [limiter.attempt("a", 0) for _ in range(8)] == [None, None, None, 429, 429, 429, 418, 418]


def test_five_messages_fit_into_a_second():
    limiter = MessageLimiter(5)
    assert [limiter.message(0.2 * n) for n in range(30)] == [True] * 30
    limiter = MessageLimiter(5)
    assert [limiter.message(0.1 * n) for n in range(6)] == [True] * 5 + [False]
