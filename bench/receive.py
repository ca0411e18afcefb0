"""Receiving alone: from the socket to whole messages in Python, nothing done with them.

    python bench/receive.py
    python bench/receive.py --rounds 3 --messages 500000

Four ways in turn, each in a process of its own, against the same blaster: the tap that cuts frames in bulk (`tap`),
trio-websocket behind the same interface (`WEBSOCKET_FAST_PATH=false`: `slow-path`), trio-websocket as people use it
(`get_message`), and the bare socket without any WebSocket (`socket`), which is the floor.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trio
import trio_websocket

from harness import BENCH, Failed, Process, clean_env, machine, print_table, show, summarise
from ingest_actors.websocket.feed import open_feed

WAYS = ("tap", "slow-path", "get_message", "socket")
SLOW = {"slow-path", "get_message"}


async def receive_by_feed(url: str, messages: int, *, fast: bool) -> None:
    clock = Clock()
    async with open_feed(url, name="bench", fast=fast) as feed:
        received = 0
        while received < messages:
            batch = await feed.receive()
            clock.start()
            received += len(batch)
        clock.tell(received)


async def receive_by_get_message(url: str, messages: int) -> None:
    clock = Clock()
    async with trio_websocket.open_websocket_url(url) as websocket:
        for _ in range(messages):
            await websocket.get_message()
            clock.start()
        clock.tell(messages)


async def receive_by_socket(url: str, messages: int, wire_bytes: int) -> None:
    clock = Clock()
    host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        request = f"GET /stream?streams=all HTTP/1.1\r\nHost: {host}\r\nSec-WebSocket-Key: eA==\r\n\r\n"
        await stream.send_all(request.encode())
        received = 0
        while received < wire_bytes:
            received += len(await stream.receive_some(256 * 1024))
            clock.start()
        clock.tell(messages)


class Clock:
    """From the first message on: what comes before is the handshake."""

    def __init__(self) -> None:
        self._wall_s = self._cpu_s = 0.0

    def start(self) -> None:
        if not self._wall_s:
            self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def tell(self, messages: int) -> None:
        wall_s, cpu_s = time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s
        figures = {"messages_per_s": round(messages / wall_s), "cpu_us_per_message": round(cpu_s / messages * 1e6, 3)}
        print(json.dumps(figures), flush=True)


def run_client(way: str, url: str, messages: int, wire_bytes: int) -> None:
    if way == "get_message":
        trio.run(receive_by_get_message, url, messages)
    elif way == "socket":
        trio.run(receive_by_socket, url, messages, wire_bytes)
    else:
        trio.run(lambda: receive_by_feed(url, messages, fast=way == "tap"))


def measure(way: str, messages: int, logs: Path) -> dict[str, Any]:
    arguments = [str(BENCH / "blaster.py"), "--messages", str(messages)]
    with Process(arguments, clean_env(), logs / "blaster.log") as blaster:
        exchange = blaster.line(120)
        client = [
            str(BENCH / "receive.py"), "--client", way, "--url", exchange["ws_url"] + "/stream?streams=all",
            "--messages", str(messages), "--wire-bytes", str(exchange["wire_bytes"]),
        ]  # fmt: skip
        with Process(client, clean_env(), logs / f"{way}.log") as process:
            return {"way": way, "messages": messages, "frame_bytes": exchange["frame_bytes"]} | process.line(300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=1_500_000, help="a run; the slow ways get a tenth of it")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--client", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--wire-bytes", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        run_client(options.client, options.url, options.messages, options.wire_bytes)
        return
    about, runs = machine(), []
    with tempfile.TemporaryDirectory(prefix="bench-") as logs:
        for number in range(options.rounds):
            for way in WAYS if number % 2 == 0 else reversed(WAYS):
                runs.append(measure(way, options.messages // (10 if way in SLOW else 1), Path(logs)))
                print(json.dumps(runs[-1]), flush=True)
    names = ("messages_per_s", "cpu_us_per_message")
    figures = {
        way: {name: summarise([run[name] for run in runs if run["way"] == way]) for name in names} for way in WAYS
    }
    rows = [(way, show(found[names[0]], 0), show(found[names[1]], 2)) for way, found in figures.items()]
    print(f"\nMedian (lowest to highest) of {options.rounds} rounds:\n")
    print_table(("way", "messages/s", "CPU us/message"), rows)
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))
    if options.json:
        options.json.write_text(json.dumps({"about": about, "summary": figures, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"failed: {failure}")
