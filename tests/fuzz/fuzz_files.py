"""All else that is read, changed at random from a seed: each reader says what is wrong, and nothing else happens.

    python tests/fuzz/fuzz_files.py --count 10000 --seed 1

*recordings* as files, plain and compressed; *spool* contents; records of the *state* topic; *faults*, that is scripts
of the simulator; *settings*.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from ingest_actors.binance.marks import Mark, OpenGap, Sheet, encode_mark, encode_sheet
from ingest_actors.binance.resume import ResumeState
from ingest_actors.errors import IngestError
from ingest_actors.kafka.owner import Owner, decode, encode
from ingest_actors.messages import EventBatch, Route
from ingest_actors.recordings.reader import RecordingReader
from ingest_actors.settings import Settings
from ingest_actors.simulator.fault_file import parse_faults
from ingest_actors.simulator.recorded_rest import RecordedRest
from ingest_actors.simulator.recording import Recording
from ingest_actors.spool.codec import BatchCodec
from json_pieces import PIECES

GAP = OpenGap("btcusdt@trade:5-6", "btcusdt@trade", 5, 6, "disconnected", 1)
STATES = (
    encode_mark(Mark(10, 1_700_000_000_000, ((5, 6),), (GAP,))),
    encode_sheet(Sheet(3, 1, {"trade/BTCUSDT": Mark(10, 1), "depth_update/X": Mark(3, 1, ((1, 2),))})),
    encode(Owner("t", 1, 1, 1, 1)),
    b'{"v":1,"drained":7}',
)
LINES = (
    b'1790000000000000000 {"recording":1,"program":"ingest-actors"}',
    b'1790000000000000001 {"connection":"c1","event":"subscribed","streams":["btcusdt@trade"]}',
    b'1790000000000000002 {"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":1,"p":"1","q":"2"}}',
    b'1790000000.5: {"stream":"btcusdt@depth","data":{"e":"depthUpdate","u":2}}',
    b'1790000000000000003 {"text":"\\udc80"}',
    b'1790000000000000004 {"binary":"AAEC"}',
    b'https://x/api/v3/depth?symbol=BTCUSDT -> 1790000000.000000006: {"lastUpdateId":1,"bids":[],"asks":[]}',
    b'https://x/api/v3/exchangeInfo -> 1790000000: {"symbols":[{"symbol":"BTCUSDT","status":"TRADING"}]}',
    b"wss://x/stream?streams=btcusdt@trade/ethusdt@trade <-> 1790000000",
    b'1790000000000000007 {"end":"stopped"}',
)
FAULTS = (
    b'seed = 7\n[[fault]]\ndo = "cut_mid_frame"\nafter_frames = 1000\nconnections = [1, 3]\n',
    b'[[fault]]\ndo = "refuse"\nstatus = 451\nprobability = 0.5\n',
    b'[[fault]]\ndo = "ban"\nseconds = 1e3\nat = 12:00:00\n',
)
JUNK = (*PIECES, b"-", b".", b"\\ud800", b"9" * 30, b"1e999", b"=", b"null")


def changed(rng: random.Random, value: bytes) -> bytes:
    """The same bytes but for a few, or seldom the very same."""
    if rng.random() < 0.1:
        return value
    made = bytearray(value)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(made) + 1)
        made[place : place + rng.randrange(4)] = rng.choice((rng.choice(JUNK), rng.randbytes(2), b""))
    return bytes(made)


def recording(rng: random.Random, directory: Path) -> None:
    """A file of lines, some of them changed, perhaps compressed and changed again."""
    lines = [rng.choice(LINES) for _ in range(rng.randint(1, 8))]
    text = b"\n".join(changed(rng, line) if rng.random() < 0.3 else line for line in lines) + rng.choice((b"", b"\n"))
    if rng.random() < 0.4:
        text = gzip.compress(text, 1)
        text = changed(rng, text) if rng.random() < 0.5 else text[: rng.randint(0, len(text))]
    path = directory / "recording"
    path.write_bytes(text)
    list(RecordingReader(path))
    RecordedRest(Recording([path]), history=5)


def spool(rng: random.Random, _directory: Path) -> None:
    """What a batch was written as; damage that the checksum would find is not kept from the codec here."""
    codec = BatchCodec({"raw": "raw-topic"})
    route = Route("trade", ("raw-topic",))
    events = [(b'{"t":%d}' % number, b"BTCUSDT", number, route) for number in range(3)]
    try:
        codec.decode(
            changed(rng, codec.encode(EventBatch(events, received_at_ms=1))), received_at_ms=1, size_bytes=1, number=1
        )
    except (ValueError, RecursionError) as error:
        raise IngestError from error  # as `Disk` says it


def state(rng: random.Random, _directory: Path) -> None:
    """A record of the state topic."""
    value = changed(rng, rng.choice(STATES))
    if rng.random() < 0.3:
        decode(b"one/owner", value)
    resumed = ResumeState("one")
    resumed.load(rng.choice((b"one/series/trade/BTCUSDT", b"one/spool", b"one/series/block/7")), value)
    ResumeState.of("one", resumed.marks).everything()


def faults(rng: random.Random, _directory: Path) -> None:
    """A fault script."""
    parse_faults(changed(rng, rng.choice(FAULTS)).decode("utf-8", "replace"))


def settings(rng: random.Random, directory: Path) -> None:
    """A file of settings."""
    names = [name.upper() for name in Settings.model_fields]
    lines = [f"{rng.choice(names)}=".encode() + changed(rng, b"wss://stream.example:9443,1.5GiB") for _ in range(3)]
    path = directory / "settings"
    path.write_bytes(b"\n".join(lines))
    Settings.from_env(env_file=path, environ={})


READERS: dict[str, Callable[[random.Random, Path], None]] = {
    reader.__name__: reader for reader in (recording, spool, state, faults, settings)
}


def run(seed: int, count: int) -> dict[str, dict[str, int]]:
    """Try each reader so often; how often each came to what. Anything but a refusal in words comes out as it is."""
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in READERS}
    with TemporaryDirectory() as directory:
        for name, reader in READERS.items():
            rng = random.Random(f"{seed}/{name}")
            for _ in range(count):
                try:
                    reader(rng, Path(directory))
                except IngestError as refused:
                    outcomes[name][type(refused).__name__] += 1
                else:
                    outcomes[name]["read"] += 1
    return {name: dict(outcome) for name, outcome in outcomes.items()}


def main() -> None:
    """Print what each reader came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="of each")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.process_time()
    print(json.dumps(run(options.seed, options.count) | {"cpu_s": round(time.process_time() - began, 1)}))


if __name__ == "__main__":
    main()
