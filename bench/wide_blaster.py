"""The blaster for any number of streams: over as many connections as they need, and for as many messages as you like.

    python bench/wide_blaster.py --streams 10000 --rounds 10

It waits until all of its streams are subscribed, on whichever connections; then each connection is sent what its
streams bring, as fast as its socket takes it. Rounds of about 100,000 messages, whose ids go on where the last round
ended (see `wide_feed`). After the rounds for warming up it is silent until SIGUSR1; so what is measured begins with a
client that has seen every stream and has nothing left to do.

Stdout as `blaster.py`: the addresses first, then a line at the start and at the end of each of the two blasts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import threading
import time

from blaster import STREAM_TYPES, Client, tell, text_frame
from wide_feed import Chunks, first_second, messages_a_stream, round_messages, symbols_of


class Exchange:
    """What the connections share: who carries what, and which round it is.

    Args:
        streams: how many there are.
        warm_up: rounds before SIGUSR1.
        rounds: rounds after it.
    """

    def __init__(self, streams: int, *, warm_up: int, rounds: int) -> None:
        self.symbols = symbols_of(streams)
        self.go = threading.Event()
        self._wanted = {f"{symbol.lower()}@{kind}" for symbol in self.symbols for kind in STREAM_TYPES}
        self._a_stream = messages_a_stream(streams)
        self._warm_up, self._rounds = warm_up, rounds
        self._clients: list[WideClient] = []
        self._begun = False
        self._lock = threading.Lock()

    def subscribed(self, client: WideClient) -> None:
        """A connection carries more than before; once all streams are carried, all of it begins."""
        with self._lock:
            if client not in self._clients:
                self._clients.append(client)
            if not self._begun and set().union(*(client.streams for client in self._clients)) >= self._wanted:
                self._begun = True
                threading.Thread(target=self._blast, daemon=True).start()

    def _blast(self) -> None:
        carried = [(client, Chunks(list(client.streams), self._a_stream)) for client in self._clients]
        second = first_second()
        for rounds in (self._warm_up, self._rounds):
            tell(event="blast_started", at_s=time.monotonic())
            threads = [
                threading.Thread(target=_send_rounds, args=(client, chunks, range(second, second + rounds)))
                for client, chunks in carried
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            tell(event="blast_ended", at_s=time.monotonic())
            second += rounds
            self.go.wait()


def _send_rounds(client: WideClient, chunks: Chunks, seconds: range) -> None:
    with contextlib.suppress(OSError):
        for second in seconds:
            for chunk in chunks.render(second):
                client.send(chunk)


class WideClient(Client):
    """One connection, which remembers what it subscribed to."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        super().__init__(sock, lambda _: {})
        self.symbols = exchange.symbols
        self.streams: dict[str, None] = {}
        self._exchange = exchange

    def send(self, data: bytes) -> None:
        """Send whole frames."""
        self._send(data)

    def _answer(self, opcode: int, payload: bytes) -> None:
        if opcode != 0x1:
            super()._answer(opcode, payload)
            return
        request = json.loads(payload)
        method, names = request["method"], request.get("params", [])
        listed = list(self.streams) if method == "LIST_SUBSCRIPTIONS" else None
        self._send(text_frame(json.dumps({"result": listed, "id": request["id"]}).encode()))
        if method == "SUBSCRIBE":
            self.streams.update(dict.fromkeys(names))
            self._exchange.subscribed(self)
        elif method == "UNSUBSCRIBE":
            for name in names:
                self.streams.pop(name, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=1, help="rounds before SIGUSR1")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after it")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    exchange = Exchange(options.streams, warm_up=options.warm_up, rounds=options.rounds)
    signal.signal(signal.SIGUSR1, lambda *_: exchange.go.set())
    with socket.create_server(("127.0.0.1", options.port), backlog=1024) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        tell(
            ws_url=f"ws://{address}",
            rest_url=f"http://{address}",
            round_messages=round_messages(options.streams),
            symbols=len(exchange.symbols),
            pid=os.getpid(),
        )
        while True:
            sock, _ = server.accept()
            threading.Thread(target=WideClient(sock, exchange).run, daemon=True).start()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
