"""The how-to of fault scripts says what there is, and its example runs."""

import dataclasses
import re
import socket
from pathlib import Path

import httpx
import pytest
import trio
from simulator_support import START_MS, client_of, handshake_status, quiet
from trio_websocket import ConnectionClosed

from ingest_actors.logs import Formatter, get_logger
from ingest_actors.simulator import open_exchange
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


class Listener:
    """A client that does nothing but subscribe."""

    def start(self, ws_url):
        address = httpx.URL(ws_url)
        self.socket = socket.create_connection((address.host, address.port))
        head = ("Host: exchange", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        self.socket.sendall("\r\n".join(("GET /ws/btcusdt@trade HTTP/1.1", *head, key, "", "")).encode())


def test_the_python_of_the_how_to_runs():
    names = {}
    exec(compile(re.search(r"```python\n(.*?)```", HOW_TO, flags=re.DOTALL)[1], "how-to", "exec"), names)
    listener = Listener()
    names["test_my_client_notices"](listener)
    listener.socket.close()


def test_the_line_on_stderr_is_as_shown(caplog):
    (shown,) = re.findall(r"^    .* (\[.*fault_happened.*)$", HOW_TO, flags=re.MULTILINE)
    caplog.set_level("INFO", "ingest_actors")
    get_logger().info("fault_happened", do="cut", connection=1, time_s=1.605)
    line = Formatter("console", colours=False, instance="").format(caplog.records[-1])
    assert line.rstrip().endswith(shown)
