"""What librdkafka itself costs through confluent-kafka: the same records from memory, and nothing else.

In the shape in which a pipeline hands them over: so many messages, each into two topics with key, timestamp and an
acknowledgement that is counted, and a poll in between. OPTIONS: more of librdkafka's options, as JSON.

Runs until SIGTERM, then flushes and prints its account.
"""

from __future__ import annotations

import json
import os
import signal

from common import DEPTH, RAW, TRADES, Account, make_producer
from confluent_kafka import Producer
from memory import begin, make_records, tell_what_there_is

QUEUE_MESSAGES = 1_000_000
MESSAGES_BETWEEN_POLLS = 200


def hand_over(kafka: Producer, records: list[tuple[bytes, bytes, int, bool]], account: Account) -> None:
    produce, on_delivery = kafka.produce, account.on_delivery
    for start in range(0, len(records), MESSAGES_BETWEEN_POLLS):
        for value, key, at_ms, is_trade in records[start : start + MESSAGES_BETWEEN_POLLS]:
            for topic in (RAW, TRADES if is_trade else DEPTH):
                while True:
                    try:
                        produce(topic, value, key, -1, on_delivery, None, at_ms)
                        break
                    except BufferError:
                        kafka.poll(0.005)
        kafka.poll(0)


def main() -> None:
    account, records = Account(), make_records()
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    options = {"queue.buffering.max.messages": QUEUE_MESSAGES} | json.loads(os.environ.get("OPTIONS", "{}"))
    tell_what_there_is(records)
    kafka = make_producer(account, **options)
    begin()
    hand_over(kafka, records, account)
    while not stopped:
        kafka.poll(0.05)
    kafka.flush()
    account.tell()


if __name__ == "__main__":
    main()
