"""The strongest that one writes by hand in Python: picows on uvloop, msgspec, slices of bytes, one `produce` a topic.

No JSON is written again: the event is sliced out of its envelope and the fields are appended. Everything happens in the
callback of a frame, without a task or a queue. Arguments of `produce` go by position: by name they cost an eighth of
all CPU time. (A thread that polls, and structs that the garbage collector does not know, brought nothing.) With
CHECK_IDS=1 it also counts ids that do not follow; nothing is done about them. No supervision, no reconnecting, no
backpressure but librdkafka's queue, and nothing left of an outage.

Runs until SIGTERM, then flushes and prints its account. POLL_THREAD=1 takes delivery reports in a thread, as soon as
they come, where it matters when: it costs CPU.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

import msgspec
import uvloop
from common import DEPTH, RAW, SUBSCRIBE, TAIL, TRADES, URL, make_account, make_producer, poll_in_thread
from confluent_kafka import Producer
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

CHECK_IDS = os.environ.get("CHECK_IDS") == "1"
POLL_THREAD = os.environ.get("POLL_THREAD") == "1"
QUEUE_MESSAGES = 1_000_000
MESSAGES_BETWEEN_POLLS = 500
IDLE_POLL_S = 0.01
AGGREGATE, UPDATE = (TAIL.replace(b"%b", kind) for kind in (b"aggregate_trade", b"depth_update"))


class Envelope(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")


class Event(msgspec.Struct):
    e: str
    E: int
    s: str


class AggTrade(msgspec.Struct, tag_field="e", tag="aggTrade"):
    E: int
    s: str
    a: int


class DepthUpdate(msgspec.Struct, tag_field="e", tag="depthUpdate"):
    E: int
    s: str
    U: int
    u: int


class Listener(WSListener):  # type: ignore[misc]
    def __init__(self, kafka: Producer) -> None:
        self.kafka = kafka
        self.produce = kafka.produce
        self.envelope = msgspec.json.Decoder(Envelope).decode
        self.event = msgspec.json.Decoder(AggTrade | DepthUpdate if CHECK_IDS else Event).decode
        self.produced = 0
        self.gaps = 0
        self.last_trade: dict[str, int] = {}
        self.last_update: dict[str, int] = {}

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, SUBSCRIBE.encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.on_message(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_message(self, message: bytes) -> None:  # noqa: C901, PLR0912 - a call a message costs, so it is one piece
        data = self.envelope(message).data
        if not data:  # the answer to our subscription
            return
        event = self.event(data)
        symbol, now_ms = event.s, time.time_ns() // 1_000_000
        if not CHECK_IDS:
            is_trade = event.e == "aggTrade"
        elif event.__class__ is AggTrade:
            is_trade = True
            if self.last_trade.get(symbol, event.a - 1) != event.a - 1:
                self.gaps += 1
            self.last_trade[symbol] = event.a
        else:
            is_trade = False
            if self.last_update.get(symbol, event.U - 1) != event.U - 1:
                self.gaps += 1
            self.last_update[symbol] = event.u
        if is_trade:
            value, topic = bytes(data)[:-1] + AGGREGATE % now_ms, TRADES
        else:
            value, topic = bytes(data)[:-1] + UPDATE % now_ms, DEPTH
        while True:
            try:
                self.produce(RAW, value, symbol, -1, None, None, event.E)
                break
            except BufferError:
                self.kafka.poll(0.01)
        while True:
            try:
                self.produce(topic, value, symbol, -1, None, None, event.E)
                break
            except BufferError:
                self.kafka.poll(0.01)
        self.produced += 1
        if not self.produced % MESSAGES_BETWEEN_POLLS and not POLL_THREAD:
            self.kafka.poll(0)


async def poll(kafka: Producer) -> None:
    while True:
        await asyncio.sleep(IDLE_POLL_S)
        kafka.poll(0)


async def main() -> None:
    account = make_account()
    kafka = make_producer(account, **{"queue.buffering.max.messages": QUEUE_MESSAGES})
    listener = Listener(kafka)
    transport, _ = await ws_connect(lambda: listener, URL + "/stream")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, transport.disconnect)
    if POLL_THREAD:
        poll_in_thread(kafka)
        await transport.wait_disconnected()
    else:
        polling = asyncio.ensure_future(poll(kafka))
        await transport.wait_disconnected()
        polling.cancel()
    kafka.flush()
    account.tell(gaps=listener.gaps)


if __name__ == "__main__":
    uvloop.run(main())
