"""Says whether a service has ended well, and whether Kafka has exactly what its last line says.

delivered.py BOOTSTRAP_SERVERS LOG
"""

import json
import sys
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

TOPIC = "binance-raw-events"

servers, log = sys.argv[1:]
lines = [json.loads(line) for line in Path(log).read_text().splitlines() if line.startswith("{")]
stopped = next(line for line in reversed(lines) if line["event"] == "service_stopped")
print(stopped)
consumer = Consumer({"bootstrap.servers": servers, "group.id": "validate"})
partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
records = sum(consumer.get_watermark_offsets(TopicPartition(TOPIC, number), timeout=10)[1] for number in partitions)
consumer.close()
delivered = stopped["ledger"]["delivered"]
print(records, "records")
if stopped["exit_code"] != 0 or records != delivered or not delivered:
    sys.exit(f"exit code {stopped['exit_code']}, {records} records, {delivered} delivered")
