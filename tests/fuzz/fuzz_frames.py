"""Frames by the million, through the real ways, to be repeated by their seed.

    python tests/fuzz/fuzz_frames.py --count 100000 --seed 1
    python tests/fuzz/fuzz_frames.py --count 100000 --seed 1 --part wire

*service*: a whole service reads them from a WebSocket, in fragments, between pings, in reads of any size, over
connections that end in every way. Every message is then found in what was written, as an event or as a dead letter,
byte for byte; the ledger balances, no actor was restarted, and nothing is left. Its time is virtual.

*wire*: the frame cutter gets streams that are lawful, or not in one place, in pieces of any size, and comes to what
wsproto comes to alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock, memory_stream_pair

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from hostile_frames import NOW, Market
from oracle_of_frames import Accounts

from exchanges import Line, Unasked
from ingest_actors.actors.fleet import Wanted
from ingest_actors.network import Network
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.websocket.feed import open_feed
from ingest_actors.websocket.framing import FrameCutter
from sinks import MemorySink
from wire_frames import BINARY, CONTINUATION, PING, PONG, TEXT, frame
from wsproto_judge import Judge

CONNECTION_MESSAGES_MAX = 4000
ENDS = (
    b"\x88\x00",
    b"\x88\x02\x03\xe9",
    b"\x88\x02\x03\xe8",
    b"",
    b"\x81",
    b"\x83\x00",
    b"\xc1\x00",
    b"\x81\x80\0\0\0\0",
    b"\x80\x00",
    b"\x09\x00",
    b"\x89\x7e\x00\x80",
    b"\x81\x7e\x00\x05",
    b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x81\x01\xff",
    b"\x01\x01\xe2\x80\x01(",
    b"\x88\x01\x03",
    b"\x88\x02\x03\xed",
    b"\x82\x7f\x00\x00\x00\x00\x7f\xff\xff\xff",
)
"""How a connection may end: lawfully, without a word, or by each kind of violation."""


def wrapped(rng: random.Random, payload: bytes, *, binary: bool = False) -> bytes:
    """A message as one frame, or as fragments with pings among them."""
    opcode = BINARY if binary else TEXT
    if rng.random() < 0.9:
        return frame(opcode, payload)
    cuts = sorted(rng.randint(0, len(payload)) for _ in range(rng.choice((1, 2, 5, 30))))
    wire = []
    for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True):
        wire.append(frame(opcode if not wire else CONTINUATION, payload[start:end], fin=False))
        if rng.random() < 0.1:
            wire.append(frame(rng.choice((PING, PONG)), rng.randbytes(rng.randint(0, 125))))
    return b"".join(wire) + frame(CONTINUATION, b"")


def is_text(payload: bytes) -> bool:
    """Whether a message may be sent as text."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


class Exchange:
    """Sends messages to whoever connects, until there are no more."""

    def __init__(self, seed: int, count: int, nursery: trio.Nursery) -> None:
        self.rng = random.Random(f"{seed}/exchange")
        self.market = Market(seed)
        self.left = count
        self.sent: list[bytes] = []
        self.connections = 0
        self.all_sent = trio.Event()
        self._nursery = nursery

    async def connect(self, host: str, port: int, tls: bool) -> trio.abc.Stream:  # noqa: FBT001
        client, server = memory_stream_pair()
        self._nursery.start_soon(self._serve, server)
        return client

    @asynccontextmanager
    async def open_feed(self, url: str, **options: Any):
        async with open_feed(url, connect=self.connect, clock_ms=lambda: NOW, **options) as feed:
            yield feed

    async def resolve(self, announce: object) -> Wanted:
        return Wanted(("s0usdt@trade",))

    async def _serve(self, stream: trio.abc.Stream) -> None:
        rng = self.rng
        self.connections += 1
        try:
            await Line(stream).shake_hands()
            self._nursery.start_soon(self._listen, stream)
            for _ in range(rng.randint(1, CONNECTION_MESSAGES_MAX)):
                if not self.left:
                    break
                self.left -= 1
                payload = self.market.message()
                self.sent.append(payload)
                wire = wrapped(rng, payload, binary=not is_text(payload) or rng.random() < 0.01)
                if rng.random() < 0.2:
                    place = rng.randint(0, len(wire))
                    await stream.send_all(wire[:place])
                    await trio.lowlevel.checkpoint()
                    wire = wire[place:]
                if wire:
                    await stream.send_all(wire)
            if not self.left:
                await trio.sleep(1)
                self.all_sent.set()
                await trio.sleep_forever()
            await stream.send_all(rng.choice(ENDS) or b"\x8a\x00")
            await trio.sleep(1)
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise AssertionError("the service hung up in the middle of lawful messages") from None

    async def _listen(self, stream: trio.abc.Stream) -> None:
        try:
            while await stream.receive_some(65536):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


async def through_a_service(seed: int, count: int) -> dict[str, Any]:
    """One run; returns its figures, and raises AssertionError where a promise is broken."""
    sink = MemorySink()
    async with trio.open_nursery() as nursery:
        exchange = Exchange(seed, count, nursery)
        service = Service(
            Settings(
                binance_symbols="S0USDT",
                binance_stream_types="trade",
                reconnect_interval=0.5,
                max_retries=0,
                shutdown_timeout_seconds=3600.0,
                receive_pause_max_ms=0,
            ),
            sink=sink,
            network=Network(("ws://exchange",), exchange.open_feed, Unasked, exchange.resolve),
            clock_ms=lambda: NOW,
            rng=random.Random(seed),
        )

        async def stop_when_all_is_sent() -> None:
            await exchange.all_sent.wait()
            service.stop()

        nursery.start_soon(stop_when_all_is_sent)
        await service.run()
        nursery.cancel_scope.cancel()
    status = service.status()
    letters = [event[0] for event in sink.written if event[3].dead_letter]
    values = [event[0] for event in sink.written if not event[3].dead_letter]
    reasons = Counter(dict(event[3].headers)["reason"].decode() for event in sink.written if event[3].dead_letter)
    for value in values:
        json.loads(value, parse_int=str)  # what is written is JSON, whatever came
    accounts = Accounts(letters, values)
    surplus = accounts.settle(exchange.sent)
    figures = {
        "seed": seed,
        "messages": len(exchange.sent),
        "connections": exchange.connections,
        "delivered": status.total.delivered,
        "dead_letters": status.total.dead_lettered,
        "duplicates": status.total.duplicates,
        "said_of_the_connection": accounts.missing - status.total.duplicates,
        "reasons": dict(reasons.most_common()),
    }
    assert not surplus, ("written, and never sent", surplus.most_common(3))
    assert not status.total.difference, status.ledger
    assert not status.total.in_flight, status.ledger
    assert not sum(status.tallies.actor_restarts.values()), dict(status.tallies.actor_restarts)
    assert not {"parser_crashed", "batcher_crashed"} & reasons.keys(), reasons
    assert len(letters) + len(values) == status.total.delivered + status.total.dead_lettered
    notices = sum(map(_may_be_a_notice, exchange.sent))
    assert 0 <= figures["said_of_the_connection"] <= notices, (figures, accounts.examples[:5])
    return figures


def _may_be_a_notice(message: bytes) -> bool:
    return any(name in message for name in (b'"result"', b'"error"', b'"code"', b"serverShutdown")) or b"\\u" in message


def through_the_cutter(seed: int, count: int) -> dict[str, Any]:
    """Streams until so many frames were cut; each ends as it likes."""
    rng = random.Random(f"{seed}/wire")
    market = Market(seed, hostile=0.3)
    frames = streams = ended = 0
    verdicts: Counter[int | None] = Counter()
    held_max = 0
    while frames < count:
        messages = [market.message() for _ in range(rng.randint(1, 60))]
        parts = [wrapped(rng, message, binary=not is_text(message) or rng.random() < 0.1) for message in messages]
        if rng.random() < 0.3:
            parts.insert(rng.randint(0, len(parts)), rng.choice(ENDS))
            ended += 1
        wire = b"".join(parts)
        if rng.random() < 0.3:
            changed = bytearray(wire)
            for _ in range(rng.randint(1, 3)):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            wire = bytes(changed)
        frames += len(messages)
        streams += 1
        alone, behind, cutter = Judge(), Judge(), FrameCutter(1 << 30)
        for piece in pieces(rng, wire):
            alone.feed(piece)
            cut = cutter.feed(piece)
            behind.messages += [(part.binary, item) for part in cut.segments for item in part.messages]
            behind.feed(cut.passed)
            held_max = max(held_max, cutter.held_bytes)
        behind.feed(cutter.finish())
        assert (behind.messages, behind.verdict) == (alone.messages, alone.verdict), (seed, streams, wire[:200])
        verdicts[alone.verdict] += 1
    return {
        "seed": seed,
        "messages": frames,
        "streams": streams,
        "verdicts": dict(verdicts),
        "held_bytes_max": held_max,
    }


def pieces(rng: random.Random, wire: bytes) -> Sequence[bytes]:
    """The same bytes, as reads may bring them."""
    match rng.randrange(4):
        case 0:
            return [wire]
        case 1:
            size = rng.randint(1, 9)
            return [wire[start : start + size] for start in range(0, len(wire), size)]
        case _:
            cuts = sorted(rng.randint(0, len(wire)) for _ in range(rng.randint(1, 20)))
            return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="messages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", choices=("service", "wire", "both"), default="both")
    parser.add_argument(
        "--run", type=int, default=20_000, help="messages of one service or cutter; the next has seed + 1"
    )
    options = parser.parse_args()
    logging.getLogger("ingest_actors").setLevel(logging.CRITICAL)  # it has much to say of what it is sent
    failed = False
    for number, start in enumerate(range(0, options.count, options.run)):
        seed, count = options.seed + number, min(options.run, options.count - start)
        for part in ("service", "wire") if options.part == "both" else (options.part,):
            began = time.process_time()
            try:
                if part == "service":
                    figures = trio.run(through_a_service, seed, count, clock=MockClock(autojump_threshold=0))
                else:
                    figures = through_the_cutter(seed, count)
            except (AssertionError, ValueError, BaseExceptionGroup) as broken:  # told, and the next seed has its turn
                figures = {"seed": seed, "broken": f"{broken!r:.500}"}
                failed = True
            rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            figures |= {"cpu_s": round(time.process_time() - began, 1), "rss_mib": round(rss_mib)}
            print(json.dumps({"part": part} | figures), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
