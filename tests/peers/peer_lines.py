"""What every client's script shares: how it talks to the tests. It runs in the clients' environment: stdlib only."""

import argparse
import json
import os
import sys
import threading
import time

_ONE_AT_A_TIME = threading.Lock()


def say(event, **fields):
    """One line of JSON to whoever started the script."""
    line = json.dumps({"event": event, **fields}, default=str) + "\n"
    with _ONE_AT_A_TIME:
        sys.stdout.write(line)
        sys.stdout.flush()


def arguments(scenarios):
    """Scenario and addresses, as `peer_support` gives them; the script ends by itself when its time is up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=scenarios)
    parser.add_argument("--ws-url", required=True)
    parser.add_argument("--rest-url", required=True)
    parser.add_argument("--ca-file")
    parser.add_argument("--time-s", type=float, required=True)
    given = parser.parse_args()
    threading.Thread(target=_end_late, args=(given.time_s,), daemon=True).start()
    return given


def _end_late(time_s):
    time.sleep(time_s)
    print(f"not done after {time_s} s", file=sys.stderr, flush=True)
    os._exit(3)
