"""TLS against plain, in bulk, one frame a TLS record, as the exchange sends them.

    python bench/part_tls.py                      # as `suite.py tls`

The whole pipeline of ours by both; and receiving alone: the tap by plain TCP, by our own TLS, which is drained in large
pieces, and by `trio.SSLStream`, which gives one record a call. The exchange encrypts before it begins to send, so that
what is compared is the client.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import figures
from harness import BENCH, Process, clean_env
from one_run import bulk
from part import Bench, bar, in_turn, ratio, spreads
from registry import CLIENTS

NAME = "tls"
ABOUT = "TLS with a frame a record against plain TCP, in bulk: the whole pipeline, and receiving alone"
WHO = "way"
COLUMNS = {"messages_per_s": ("messages/s", 0), "cpu_us_per_message": ("CPU us/message", 2)}
ROUNDS = 5
MESSAGES = 400_000
RECEIVED = 600_000
PLAIN, TLS = "pipeline, plain", "pipeline, TLS"
RECEIVERS = {
    "receiving, plain": ("tap", False),
    "receiving, TLS": ("tap", True),
    "receiving, trio.SSLStream": ("ssl-stream", True),
}


def run(bench: Bench) -> dict[str, Any]:
    rows = []
    for number, way in in_turn((PLAIN, TLS, *RECEIVERS), bench.rounds(ROUNDS)):
        rows.append(receive(bench, way, number) if way in RECEIVERS else whole(bench, way, number))
    rate = ratio(rows, "messages_per_s", TLS, PLAIN, by="way")["median"]
    return {
        "rows": rows,
        "summary": spreads(rows, COLUMNS, by="way"),
        "bars": [bar("whole pipeline over TLS, one frame a record: rate against plain", rate, at_least=0.75)],
    }


def whole(bench: Bench, way: str, number: int) -> dict[str, Any]:
    options = ["--tls", str(bench.logs)] if way == TLS else []
    client = CLIENTS["ingest_actors"]
    return {"way": way} | bulk(bench, client, bench.size(MESSAGES), number, blaster_options=options)


def receive(bench: Bench, way: str, number: int) -> dict[str, Any]:
    receiver, tls = RECEIVERS[way]
    messages = bench.size(RECEIVED)
    arguments = [str(BENCH / "blaster.py"), "--messages", str(messages), *(["--tls", str(bench.logs)] if tls else [])]
    with Process(arguments, clean_env(), bench.logs / "tls-blaster.log") as blaster:
        exchange = blaster.line(120)
        env = clean_env(SSL_CERT_FILE=exchange["ca_file"]) if tls else clean_env()
        url = exchange["ws_url"] + "/stream?streams=all"
        client = [str(BENCH / "receivers.py"), receiver, url, str(messages), str(exchange["wire_bytes"])]
        with Process(client, env, bench.logs / "tls-receiver.log") as process:
            found = process.line(300)
    row = {"way": way, "round": number, "messages": messages} | found
    bench.tell(row)
    return row


def plot(result: Mapping[str, Any], axes: Any) -> None:
    figures.bars(axes, result["summary"], "messages_per_s", "messages a second", ours=[PLAIN, TLS])


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
