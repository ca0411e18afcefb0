"""The how-to of fault scripts says what there is, and its example runs."""

import dataclasses
import re
from pathlib import Path

import pytest
import trio
from simulator_support import START_MS, client_of, handshake_status, quiet
from trio_websocket import ConnectionClosed

from ingest_actors.simulator import SimulatorConfig, open_exchange
from ingest_actors.simulator.fault_file import parse_faults
from ingest_actors.simulator.faults import ACTIONS, Fault, options_of

HOW_TO = (Path(__file__).parents[2] / "docs" / "how-to" / "fault-scripts.md").read_text()
ROWS = {
    row[0]: row[2]
    for row in re.findall(r"^\| `(\w+)` \| (.*?) \|(.*) \|$", HOW_TO, flags=re.MULTILINE)
    if row[0] != "do"
}


def test_every_action_is_in_the_how_to_with_its_options_and_defaults():
    assert set(ACTIONS) == set(ROWS)
    for name, kind in ACTIONS.items():
        for entry in options_of(kind):
            default = entry.default
            told = re.search(rf"`{entry.name}`(?: = (\"[^\"]*\"|[\w.]+))?", ROWS[name])
            assert told, f"{name}: {entry.name}"
            if default in (None, dataclasses.MISSING) or (name, entry.name) == ("rest_not_json", "body"):
                assert told[1] is None
            elif isinstance(default, bool):
                assert told[1] == str(default).lower()
            else:
                shown = f"{default:g}" if isinstance(default, float) else str(default)
                assert told[1].strip('"') == shown, f"{name}: {entry.name}"


def test_every_trigger_and_limit_is_in_the_how_to():
    for entry in dataclasses.fields(Fault):
        assert entry.name == "action" or f"| `{entry.name}` |" in HOW_TO


def example():
    return parse_faults(re.search(r"```toml\n(.*?)```", HOW_TO, flags=re.DOTALL)[1])


async def test_the_example_runs_and_everything_in_it_happens(autojump_clock):
    script = example()
    async with open_exchange(quiet(faults=script, activity=5)) as exchange:
        path = "/stream?streams=btcusdt@trade/ethusdt@trade"
        async with client_of(exchange, path) as client:
            with pytest.raises(ConnectionClosed):  # noqa: PT012 - cut in the middle of a frame
                while True:
                    await client.get_message()
        assert await handshake_status(exchange, path) == 429
        async with client_of(exchange, path) as client:
            with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - told to go
                while True:
                    await client.get_message()
            assert closed.value.reason.code == 1001
        assert trio.current_time() == pytest.approx(13, abs=0.2)
        assert exchange.now_ms() > START_MS
        happened = {fired.fault.action.DO for fired in exchange.fired}
        assert happened == {fault.action.DO for fault in script.faults if not fault.action.DO.startswith("rest_")}


async def test_the_python_of_the_how_to_is_python():
    code = re.search(r"```python\n(.*?)```", HOW_TO, flags=re.DOTALL)[1]
    names = {}
    exec(compile(code, "how-to", "exec"), names)
    assert SimulatorConfig(faults=names["script"]).faults.faults[0].after_frames == 200
