"""The newest records of a topic, a line each: where it lies, its time, its key, its value.

    python examples/look_into_a_topic.py localhost:9092 binance-trades 3

Records of transactions that are not committed are not shown: librdkafka's default.
"""

import sys
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

MARGIN = 200
"""How far before the end of each partition it begins: markers of transactions take offsets, too."""


def newest(brokers: str, topic: str, count: int) -> list[Message]:
    """The records with the latest times, oldest first."""
    options = {"bootstrap.servers": brokers, "group.id": "nobody", "enable.partition.eof": True}
    consumer = Consumer(options | {"enable.auto.commit": False})
    found: list[Message] = []
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        places = []
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            places.append(TopicPartition(topic, partition, max(low, high - count - MARGIN)))
        consumer.assign(places)
        unread = len(places)
        while unread:
            message = consumer.poll(10)
            if message is None:
                break
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name there
                unread -= 1
            else:
                raise KafkaException(error)
    finally:
        consumer.close()
    return sorted(found, key=lambda message: message.timestamp()[1])[-count:]


def line(message: Message) -> str:
    """What is shown of a record."""
    time = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC).isoformat(timespec="milliseconds")
    place = f"{message.partition()}@{message.offset()}"
    return f"{place} {time[11:23]} {(message.key() or b'-').decode()} {(message.value() or b'').decode()}"


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python examples/look_into_a_topic.py BROKERS TOPIC [COUNT]")
    for one in newest(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10):
        print(line(one))
