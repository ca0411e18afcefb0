"""Whether somebody else has begun to write under our name: one partition of the state topic, looked at at times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ingest_actors.errors import IngestError, JournalTooNew, SecondWriter, StateUnreadable
from ingest_actors.kafka.credentials import Credentials
from ingest_actors.kafka.librdkafka_log import LibrdkafkaLog
from ingest_actors.kafka.owner import Owner, decode, owner_key
from ingest_actors.logs import get_logger

log = get_logger()

LOOK_S = 2.0
"""How often: what a second writer may double."""

RECORDS_MAX = 1_000
"""Taken at one look; more wait for the next one, inside librdkafka, in `QUEUE_KBYTES`."""

QUEUE_KBYTES = 2_048


class RivalWatch:
    """Looks out for a writer that was started later.

    Args:
        options: how to connect; see `config.client_options`.
        instance: `INSTANCE_NAME`.
        topic: the state topic.
        credentials: let it in when the password has changed.

    Attributes:
        found: the other one; None: nobody was seen.
    """

    def __init__(
        self,
        options: Callable[[], dict[str, Any]],
        *,
        instance: str,
        topic: str,
        credentials: Credentials | None = None,
    ) -> None:
        self.found: SecondWriter | None = None
        self._options = options
        self._instance = instance
        self._key = owner_key(instance)
        self._topic = topic
        self._credentials = credentials
        self._own: Owner | None = None
        self._consumer: Consumer | None = None
        self._look_s = 0.0
        self._kept_out = False

    def begin(self, partition: int, offset: int, own: Owner) -> None:
        """Watch a partition from an offset on, the one where our own first record lies. Once is enough."""
        self._own = own
        if self._consumer is not None:
            return
        reading: dict[str, Any] = {
            "group.id": f"{self._instance}-rival",  # asked for by librdkafka; never joined
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "latest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": QUEUE_KBYTES,
            # One answer a look: whoever writes the state writes it more often.
            "fetch.wait.max.ms": int(LOOK_S * 1000),
            "fetch.min.bytes": 1_000_000,
            "error_cb": self._refused,
            "logger": LibrdkafkaLog(),
        }
        try:
            self._consumer = Consumer(self._options() | reading)
            self._consumer.assign([TopicPartition(self._topic, partition, offset)])
        except (KafkaException, IngestError) as error:
            log.warning("second_writer_unseen", cause=str(error), detail="tried again with the next state")

    def look(self, now_s: float) -> None:
        """Look, if it is time; never waits.

        Raises:
            SecondWriter: there is one.
        """
        if now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_S
        if self.found is not None:
            raise self.found
        if self._consumer is None:
            return
        try:
            messages = self._consumer.consume(RECORDS_MAX, 0)
        except KafkaException:
            return  # the next look will tell
        if self._kept_out and self._credentials is not None:
            self._kept_out = False
            self._credentials.give(self._consumer)
        for message in messages:
            value = message.value()
            if message.error() is None and message.key() == self._key and value is not None:
                self._judge(value)

    async def aclose(self) -> None:
        """Let go of the connections."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(consumer.close)

    def _refused(self, error: KafkaError) -> None:
        """Librdkafka's ``error_cb``; that nobody answers is told by those who write."""
        self._kept_out = self._kept_out or Credentials.wanted(error)

    def _judge(self, value: bytes) -> None:
        assert self._own is not None
        try:
            other = decode(self._key, value)
        except JournalTooNew:
            about = "of a newer release"
        except StateUnreadable as error:
            log.warning("state_unreadable", cause=str(error))
            return
        else:
            if other.token == self._own.token or other.rank < self._own.rank:
                return
            about = str(other)
        self.found = SecondWriter(self._instance, about)
        log.error("second_writer", instance=self._instance, other=about, own=str(self._own))
        raise self.found
