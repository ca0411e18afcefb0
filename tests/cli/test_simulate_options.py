"""Options of `simulate`: how many symbols and which, what the market's events look like."""

import pytest

from ingest_actors import cli
from ingest_actors.commands import simulate


@pytest.fixture
def simulated(monkeypatch):
    """Runs `simulate` with options; what it would have simulated."""

    def run(*options):
        configs = []
        monkeypatch.setattr(simulate, "run_it", lambda config, _announce: configs.append(config))
        assert cli.main(["simulate", *options]) == 0
        return configs[0]

    return run


def test_symbols_are_named_or_counted(simulated):
    assert simulated("--symbols", "btcusdt, 币usdt").symbols == ("BTCUSDT", "币USDT")
    assert len(set(simulated("--symbols", "5000").symbols)) == 5000
    assert simulated().symbols == ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT")
    assert simulated("--symbols", "1000,").symbols == ("1000",)  # a symbol whose name is a number


def test_events_and_quiet_symbols_and_what_rest_has_are_as_told(simulated):
    config = simulated(
        "--quiet", "dead1usdt,DEAD2USDT", "--old-trade-schema", "--extra-fields", "--rest-lag", "1.5", "--history", "7"
    )
    assert config.quiet == ("DEAD1USDT", "DEAD2USDT")
    assert (config.old_trade_schema, config.extra_fields, config.rest_lag_s, config.history) == (True, True, 1.5, 7)
    plain = simulated()
    assert (plain.quiet, plain.old_trade_schema, plain.extra_fields, plain.rest_lag_s) == ((), False, False, 0.0)
    assert plain.history == 20_000


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--symbols", "x!"], "'X!'"),
        (["--symbols", "BTCUSDT,A B"], "'A B'"),
        (["--symbols", "0"], "1 to 20000"),
        (["--symbols", "20001"], "1 to 20000"),
        (["--quiet", "a/b"], "'A/B'"),
    ],
)
def test_impossible_symbols_are_refused_with_what_was_given(options, named, capsys):
    assert cli.main(["simulate", *options]) == 2
    assert named in capsys.readouterr().err
