"""The service as a part of a trio program, for as many seconds as you say.

    python examples/in_a_trio_program.py 10

Settings come from the environment here; `Settings(binance_symbols="BTCUSDT", ...)` does without it.
"""

import sys
from collections.abc import AsyncIterator

import trio

import ingest_actors


async def main(seconds: float) -> None:
    """Start, look, stop."""
    settings = ingest_actors.Settings.from_env()
    async with trio.open_nursery() as nursery:
        ingest = await nursery.start(ingest_actors.serve, settings)  # subscribed, and Kafka answers
        with ingest.events() as happenings:
            nursery.start_soon(tell, happenings)
            await trio.sleep(seconds)
            metrics = ingest.get_metrics()
            print("processed", metrics["messages_processed"], "connected", metrics["connected"])
            await ingest.stop()  # drains; the nursery ends by itself
            print("in flight", ingest.get_metrics()["messages_buffered"])


async def tell(happenings: AsyncIterator[ingest_actors.ServiceEvent]) -> None:
    """Print what happens to the service; ends with it."""
    async for happening in happenings:
        print(happening.name, happening.fields)


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
