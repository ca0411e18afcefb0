"""The floor of all latencies: librdkafka alone, the same records at the same pace, from memory.

No WebSocket and no parsing: a record is stamped in the instant in which it is handed over. So what it shows is the
producer, the broker and whoever looks on. Takes two arguments, messages and messages a second; otherwise as a client.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import DEPTH, RAW, TRADES, make_account, make_producer
from confluent_kafka import Producer

from blaster import make_payloads, tell, text_frame
from pacing import PacedFrames

TAIL = b',"ingestion_timestamp":1700000000000,"source":"binance_websocket","event_type":"aggregate_trade"}'


def produce(kafka: Producer, topic: str, value: bytes, key: bytes, at_ms: int) -> None:
    """Hand over one record; while the queue is full, wait: a broker that stands still for a moment is no failure."""
    while True:
        try:
            kafka.produce(topic, value, key, timestamp=at_ms)
        except BufferError:
            kafka.poll(0.001)
        else:
            return


def hand_over(frames: PacedFrames, kafka: Producer, rate: float) -> None:
    """Make a record of each frame's payload, and two of each."""

    def send(start: int, end: int) -> None:
        for index in range(start, end):
            event = frames.event(index)
            value = event[:-1] + TAIL
            symbol = event.partition(b'"s":"')[2].partition(b'"')[0]
            at_ms = int(event.partition(b'"E":')[2][:13])
            for topic in (RAW, TRADES if index % 2 == 0 else DEPTH):
                produce(kafka, topic, value, symbol, at_ms)

    tell(event="blast_ended", **frames.pace(send, rate)._asdict())


def main() -> None:
    messages, rate = int(sys.argv[1]), float(sys.argv[2])
    frames = PacedFrames(make_payloads(messages), text_frame)
    account = make_account()
    kafka = make_producer(account)
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            kafka.poll(0.1)

    polling = threading.Thread(target=poll)
    polling.start()
    hand_over(frames, kafka, rate)
    ended.set()
    polling.join()
    kafka.flush()
    account.tell()


if __name__ == "__main__":
    main()
