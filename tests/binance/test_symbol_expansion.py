from ingest_actors.binance.symbols import expand_symbols, is_pattern

STATUSES = {
    "BTCUSDT": "TRADING",
    "ETHUSDT": "TRADING",
    "ETHBTC": "TRADING",
    "LUNAUSDT": "BREAK",
    "币安人生USDT": "TRADING",
    "ADAUSDT": "HALT",
}


def test_patterns_mean_what_is_trading_and_names_mean_themselves():
    assert expand_symbols(["*USDT"], STATUSES).symbols == ("BTCUSDT", "ETHUSDT", "币安人生USDT")
    assert expand_symbols(["*"], STATUSES).symbols == ("BTCUSDT", "ETHBTC", "ETHUSDT", "币安人生USDT")
    assert expand_symbols(["?TH*", "adausdt", "[B]TC*", "ethusdt"], STATUSES).symbols == (
        "ETHBTC",
        "ETHUSDT",
        "ADAUSDT",
        "BTCUSDT",
    )
    assert expand_symbols(["币安*"], STATUSES).symbols == ("币安人生USDT",)


def test_what_is_not_listed_is_told_with_the_nearest_that_is():
    expanded = expand_symbols(["btcusd", "QQQQQQ", "*EUR", "BTCUSDT"], STATUSES)
    assert expanded.symbols == ("BTCUSDT",)
    assert expanded.unknown == {"BTCUSD": "BTCUSDT", "QQQQQQ": "", "*EUR": ""}


def test_what_a_pattern_is():
    assert all(map(is_pattern, ["*", "*USDT", "B?C", "[AB]C"]))
    assert not is_pattern("BTCUSDT")
