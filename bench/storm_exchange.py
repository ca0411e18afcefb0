"""The simulated exchange of the storm: upon SIGUSR1 it cuts every connection at once, and says when all is back.

    python bench/storm_exchange.py --symbols 2560 --activity 0.2

Stdout, one JSON line each: the addresses as soon as it listens; ``cut`` with the time, the connections and the streams;
``back`` with the time at which so many streams are subscribed again and each of them is known to the exchange. Times
are CLOCK_MONOTONIC, which means the same in every process of the machine.
"""

from __future__ import annotations

import argparse
import json
import signal
import time

import trio

from ingest_actors.simulator import invent_symbols
from ingest_actors.testing import Exchange, open_exchange

LOOK_S = 0.02


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def carried(exchange: Exchange) -> int:
    return len(exchange.subscriptions())


async def storm(exchange: Exchange) -> None:
    """Cut all, and wait until all is back."""
    streams, numbers = carried(exchange), [connection.number for connection in exchange.connections()]
    cut_s = time.monotonic()
    await exchange.cut()
    say(event="cut", at_s=cut_s, connections=len(numbers), streams=streams, number=max(numbers))
    while carried(exchange) < streams:  # noqa: ASYNC110 - nothing tells
        await trio.sleep(LOOK_S)
    now = exchange.connections()
    newest = max(connection.number for connection in now)
    say(event="back", at_s=time.monotonic(), connections=len(now), attempts=newest - max(numbers))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=2560)
    parser.add_argument("--activity", type=float, default=0.2)
    options = parser.parse_args()
    symbols = tuple(invent_symbols(options.symbols))
    async with open_exchange(symbols=symbols, seed=1, activity=options.activity) as exchange:
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            say(ws_url=exchange.ws_url, rest_url=exchange.rest_url)
            async for _ in signals:
                await storm(exchange)


if __name__ == "__main__":
    trio.run(main)
