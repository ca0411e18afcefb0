"""Receiving alone: from the socket to whole messages in Python, nothing done with them; Kafka takes no part.

    python bench/part_receive.py                  # as `suite.py receive`

Each way in a process of its own, against the same blaster: ours, which cuts frames in bulk (`tap`) or leaves everything
to trio-websocket behind the same interface (`WEBSOCKET_FAST_PATH=false`: `slow-path`); trio-websocket as people use it
(`get_message`); websockets on asyncio; picows on uvloop, whose framing is compiled; and the bare socket without any
WebSocket (`socket`), which is the floor of what trio and Python cost.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import figures
from harness import BENCH, Process, clean_env
from part import Bench, in_turn, spreads

NAME = "receive"
ABOUT = "how fast whole messages come off the socket, with nothing done about them"
WHO = "way"
COLUMNS = {"messages_per_s": ("messages/s", 0), "cpu_us_per_message": ("CPU us/message", 2)}
ROUNDS = 5
MESSAGES = 1_000_000
SHARES = {"tap": 1.0, "slow-path": 0.1, "get_message": 0.1, "websockets": 0.2, "picows": 1.0, "socket": 1.0}


def run(bench: Bench) -> dict[str, Any]:
    rows = [measure(bench, way, number) for number, way in in_turn(tuple(SHARES), bench.rounds(ROUNDS))]
    return {"rows": rows, "summary": spreads(rows, COLUMNS, by="way"), "bars": []}


def measure(bench: Bench, way: str, number: int) -> dict[str, Any]:
    messages = round(bench.size(MESSAGES) * SHARES[way])
    arguments = [str(BENCH / "blaster.py"), "--messages", str(messages)]
    with Process(arguments, clean_env(), bench.logs / "receive-blaster.log") as blaster:
        exchange = blaster.line(120)
        url = exchange["ws_url"] + "/stream?streams=all"
        client = [str(BENCH / "receivers.py"), way, url, str(messages), str(exchange["wire_bytes"])]
        with Process(client, clean_env(), bench.logs / f"receive-{way}.log") as process:
            found = process.line(300)
    row = {"way": way, "round": number, "messages": messages, "frame_bytes": exchange["frame_bytes"]} | found
    bench.tell(row)
    return row


def plot(result: Mapping[str, Any], axes: Any) -> None:
    figures.bars(axes, result["summary"], "messages_per_s", "messages a second", ours=["tap"], floors=["socket"])


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
