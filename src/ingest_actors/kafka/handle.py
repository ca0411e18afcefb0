"""One librdkafka producer: made, polled on trio's thread, let go of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from confluent_kafka import KafkaError, KafkaException, Producer

from ingest_actors.kafka import codes
from ingest_actors.kafka.credentials import Credentials
from ingest_actors.kafka.librdkafka_log import LibrdkafkaLog

FLUSH_S = 0.005

ErrorCallback = Callable[[KafkaError], None]


class ProducerHandle:
    """A producer and the fatal error that ended it, if any.

    Args:
        options: for librdkafka; the producer connects at once, in threads of its own.
        on_error: called from `poll` with what is wrong between the producer and its brokers; never fatal errors.
        credentials: asked for the password as it is now when the brokers do not let the producer in.

    Attributes:
        produce: the producer's own method, unwrapped, since it is called for each record.
        fatal: what ended it; None while it lives. Records may be given back even so: poll on.

    Raises:
        KafkaException: an option is not accepted.
    """

    def __init__(
        self, options: dict[str, Any], on_error: ErrorCallback, credentials: Credentials | None = None
    ) -> None:
        self.fatal: KafkaError | None = None
        self._on_error = on_error
        self._credentials = credentials
        self._kept_out = False
        self._log = LibrdkafkaLog()
        self._producer: Producer | None = Producer({**options, "error_cb": self._error, "logger": self._log})
        self.produce = self._producer.produce
        self._poll = self._producer.poll

    @property
    def _live(self) -> Producer:
        assert self._producer is not None, "it is closed"
        return self._producer

    def poll(self) -> None:
        """Run the callbacks that are due. Fatal errors come out of here as `fatal`."""
        try:
            self._poll(0)
        except KafkaException as error:
            self.fail(error.args[0])
        if self._kept_out:
            self._kept_out = False
            if self._credentials is not None and self._producer is not None:
                self._credentials.give(self._producer)

    def fail(self, error: KafkaError) -> None:
        """Take note of a fatal error; the first one tells the cause, the others only repeat that there was one."""
        if self.fatal is None or self.fatal.code() == codes.FATAL:
            self.fatal = error

    def purge(self, *, in_flight: bool) -> None:
        """Have records given back: those that wait, and perhaps those sent and not answered."""
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=in_flight, blocking=False)

    def send_now(self) -> None:
        """Send what waits for company, and give the answers a moment; blocks for `FLUSH_S` at most."""
        if self._producer is not None:
            try:
                self._producer.flush(FLUSH_S)
            except KafkaException as error:
                self.fail(error.args[0])

    def list_topics(self, timeout_s: float) -> None:
        """Ask a broker for anything; blocks. Raises KafkaException when none answers."""
        if self._producer is not None:
            self._producer.list_topics(timeout=timeout_s)

    async def aclose(self) -> None:
        """Let go of it, and of all that it still holds; bounded by the time that its threads take to end."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        del self.produce, self._poll
        producer.purge(in_queue=True, in_flight=True, blocking=False)
        holder = [producer]
        del producer
        with trio.CancelScope(shield=True):
            # The destructor waits for librdkafka's threads, so the last reference is dropped in a thread of ours.
            await trio.to_thread.run_sync(holder.clear)

    def _error(self, error: KafkaError) -> None:
        if error.fatal():
            self.fail(error)
            return
        self._kept_out = self._kept_out or Credentials.wanted(error)
        self._on_error(error)
