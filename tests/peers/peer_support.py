"""How the tests run third-party clients: each script as a process of its own, in an environment of its own."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
ENVIRONMENT = Path(os.environ.get("PEERS_VENV", REPOSITORY / ".venv-peers")).absolute()
"""Where `make test-peers` installs the clients."""
START_S = 20
"""Longest that the simulated exchange may take until it serves, and to end."""
GRACE_S = 10
"""A script ends by itself when its time is up; this much later it is killed."""


@contextmanager
def simulated_exchange(*options, symbols="BTCUSDT,ETHUSDT", activity="5", faults=None):
    """The simulated exchange as a process, as anybody would start it; gives its addresses."""
    command = [sys.executable, "-m", "ingest_actors", "simulate", "--seed", "4"]
    command += ["--symbols", symbols, "--activity", activity, "--orders-per-block", "500", *options]
    if faults:
        command += ["--faults", str(faults)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line, f"{' '.join(command)} ended with {process.wait(START_S)}"
            yield json.loads(line)
        finally:
            process.terminate()
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


class Report:
    """What one run of a client's script told.

    Attributes:
        events: its lines, in order.
        failure: what to show when something is missing: how it ended, its last lines, its standard error.
    """

    def __init__(self, events, failure):
        self.events = events
        self.failure = failure

    def all(self, event):
        """Everything told under this name."""
        return [told for told in self.events if told["event"] == event]

    def one(self, event):
        """What was told once under this name; the test fails, with all that the client said, when it was not."""
        told = self.all(event)
        assert len(told) == 1, f"{event!r} was told {len(told)} times\n{self.failure}"
        return told[0]

    def check(self):
        """The script came to its end, and the client complained of nothing."""
        assert self.events, f"it told nothing\n{self.failure}"
        assert self.events[-1]["event"] == "done", f"it did not come to its end\n{self.failure}"
        assert not self.all("error"), f"the client complained: {self.all('error')}\n{self.failure}"
        return self


def run_peer(client, scenario, addresses, *, time_s=45):
    """Run one scenario of a client's script to its end.

    Args:
        client: name of the script, without ``peer_`` and ``.py``.
        scenario: what it is to do.
        addresses: the exchange's, as `simulated_exchange` gives them.
        time_s: after so many seconds the script ends itself.
    """
    python = ENVIRONMENT / "bin" / "python"
    missing = ENVIRONMENT / f"without-{client}"
    if missing.exists():
        pytest.skip(f"{client} is not installed: {missing.read_text().strip()}")
    assert python.exists(), f"the clients are not installed in {ENVIRONMENT}: run `make test-peers`"
    command = [python, HERE / f"peer_{client}.py", scenario, "--time-s", str(time_s)]
    command += ["--ws-url", addresses["ws_url"], "--rest-url", addresses["rest_url"]]
    if addresses["ca_file"]:
        command += ["--ca-file", addresses["ca_file"]]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            output, errors = process.communicate(timeout=time_s + GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
    told = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    tail = "\n".join(output.splitlines()[-5:])
    failure = (
        f"{client} {scenario} ended with {process.returncode}; its last lines:\n{tail}\n"
        f"and its standard error:\n{errors[-6000:]}"
    )
    return Report(told, failure)
