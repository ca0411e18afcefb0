"""Records from memory, for those that do nothing but hand them over: no socket, no parsing.

They are what the clients write of the same messages: values, keys and times, two topics each. Who hands them over
says on stdout what it has, and then when it begins, a moment ahead, so that whoever measures can look at its CPU time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from blaster import make_payloads

MESSAGES = int(os.environ.pop("BENCH_MESSAGES"))
AHEAD_S = 0.3
OPENING = b'","data":'


def make_records() -> list[tuple[bytes, bytes, int, bool]]:
    """Value, key, time, and whether it is a trade, of each message in order."""
    now_ms = time.time_ns() // 1_000_000
    tail = b',"ingestion_timestamp":%d,"source":"binance_websocket","event_type":"%%b"}' % now_ms
    tails = {True: tail % b"aggregate_trade", False: tail % b"depth_update"}
    records = []
    for payload in make_payloads(MESSAGES):
        data = payload[payload.index(OPENING) + len(OPENING) : -1]
        event = json.loads(data)
        is_trade = event["e"] == "aggTrade"
        records.append((data[:-1] + tails[is_trade], event["s"].encode(), event["E"], is_trade))
    return records


def tell_what_there_is(records: list[tuple[bytes, bytes, int, bool]]) -> None:
    """The first line: as the exchange's, in whose place this stands."""
    size = sum(len(record[0]) for record in records)
    print(json.dumps({"value_bytes": round(size / len(records), 1)}), flush=True)


def begin() -> None:
    """The second line; returns when it is time."""
    at_s = time.monotonic() + AHEAD_S
    print(json.dumps({"event": "blast_started", "at_s": at_s}), flush=True)
    time.sleep(max(at_s - time.monotonic(), 0))
