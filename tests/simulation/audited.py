"""What `audit` says of a record in memory: the same records, in the same order, as a reader of the topics would see."""

import zlib

from ingest_actors.audit import Auditor, Role
from ingest_actors.binance.stream_table import TopicNames

PARTITIONS = 3
_ROLES = {name: Role(role) for role, name in TopicNames()._asdict().items() if role in set(Role)}


def audit(entries):
    """The report of the audit over entries of a `MemoryKafka`."""
    topics = {role: [[] for _ in range(PARTITIONS)] for role in Role}
    letters = []
    for entry in entries:
        value, key, time_ms, route = entry.event
        partition = zlib.crc32(key or b"") % PARTITIONS
        for name in entry.topics:
            records = topics[_ROLES[name]][partition]
            records.append((len(records), key, value, time_ms))
        if route.dead_letter:
            letters.append((value, {name: text.decode("utf-8", "replace") for name, text in route.headers}))
    auditor = Auditor()
    _feed(auditor, topics, letters)
    for reading in auditor.second_readings():
        _read_again(reading, topics)
    return auditor.report()


def _feed(auditor, topics, letters):
    for partition, records in enumerate(topics[Role.GAPS]):
        auditor.journal(partition, records)
    auditor.dead_letters(letters)
    for role in (Role.RAW, Role.TRADES, Role.DEPTH):
        for partition, records in enumerate(topics[role]):
            auditor.feed(role, partition, records)


def _read_again(reading, topics):
    for role in (Role.TRADES, Role.DEPTH, Role.RAW):
        for partition, spans in reading.places.get(role, {}).items():
            for first, last in spans:
                for _, _, value, _ in topics[role][partition][first : last + 1]:
                    reading.take(role, value)


def defects(report, *, leaving_out=()):
    """What it found, as text; empty when all is well. Some event types may be left out."""
    series = [one for one in report.series if not one.ok and one.name.event_type not in leaving_out]
    found = [f"{one.name}: {one.defects} {_told(one)}" for one in series]
    return found + [f"{topic.name}: unreadable {topic.unreadable}, misplaced {topic.misplaced}"
                    for topic in report.topics if not topic.ok]  # fmt: skip


def _told(one):
    return {
        "missing": list(one.missing)[:3], "duplicates": dict(list(one.duplicates.items())[:3]),
        "out_of_order": one.out_of_order[:3], "strays": one.strays[:2],
        "only_in": {role.value: list(spans)[:3] for role, spans in one.only_in.items()},
        "chain": [entry for view in one.views for entry in view.chain][:3],
        "aggregates": [entry for view in one.views for entry in view.differing][:3],
    }  # fmt: skip
