"""A process that writes numbered events in transactions, from where the state topic says, until it is killed.

Arguments: bootstrap servers, topic prefix, how many events. It prints ``done`` when all are committed, and a line for
each acknowledgement before that.
"""

import sys

import trio
from exactly_once import CountingProgress, exactly_once_on
from kafka_support import in_batches, numbered, route_for


async def main(servers, prefix, count):
    progress = CountingProgress()
    async with exactly_once_on(servers, prefix, progress=progress, kafka_commit_interval_ms=50) as sink:
        # The keys take turns, so the lowest mark of all tells where to go on.
        begin = max(progress.marks.values(), default=-1) + 1
        tell(f"from {begin}")
        batches = in_batches(numbered(route_for(prefix), range(begin, count), key=b"BTCUSDT"), 37)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(offer_slowly, sink, batches)
            for _ in batches:
                done = await sink.acknowledged()
                tell(int(done.batch.events[-1][0][:9]))
    tell("done")


async def offer_slowly(sink, batches):
    for batch in batches:
        await sink.accept(batch)
        await trio.sleep(0.002)


def tell(what):
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
