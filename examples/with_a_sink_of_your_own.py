"""Events into a file instead of Kafka: a sink made from a plain async function.

    python examples/with_a_sink_of_your_own.py 10 events.jsonl

The function gets one batch at a time, in order. A batch counts as written when the function returns; if it raises, it
is called again with the same batch, so what it writes is there at least once.
"""

import sys
from functools import partial
from pathlib import Path

import trio

import ingest_actors


async def main(seconds: float, path: Path) -> None:
    """Write for a while."""
    settings = ingest_actors.Settings.from_env()
    async with await trio.open_file(path, "ab") as file:

        async def write(batch: ingest_actors.EventBatch) -> None:
            await file.write(b"".join([value + b"\n" for value, _key, _timestamp_ms, _route in batch.events]))
            await file.flush()

        async with trio.open_nursery() as nursery:
            sink = ingest_actors.FunctionSink(write)
            ingest = await nursery.start(partial(ingest_actors.serve, settings, sink=sink))
            await trio.sleep(seconds)
            await ingest.stop()
            print("written", ingest.get_metrics()["messages_processed"])


if __name__ == "__main__":
    trio.run(
        main,
        float(sys.argv[1]) if len(sys.argv) > 1 else 10.0,
        Path(sys.argv[2] if len(sys.argv) > 2 else "events.jsonl"),
    )
