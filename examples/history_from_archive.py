"""Trades of the past from the exchange's public archive, written as a recording that `replay` takes.

    python examples/history_from_archive.py BTCUSDT-aggTrades-2024-08-08.zip > history.txt
    python -m ingest_actors replay history.txt --topic-prefix history-

The archive has a file for each symbol, kind (`aggTrades` or `trades`) and day or month: comma-separated values, zipped
or not, times in ms, or in microseconds since 2025. Every row becomes the message that the stream would have sent,
without `E`, the time of its publication, which the archive does not have. Rows of several files are written one file
after the other.
"""

import csv
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

MICROSECONDS_FROM = 10**14


def aggregate(symbol: str, row: list[str]) -> tuple[int, dict[str, object]]:
    """Id, price, quantity, first and last trade, time, whether the buyer was the maker, whether it was the best."""
    time = ms(row[5])
    ids = {"f": int(row[3]), "l": int(row[4])}
    event = {"e": "aggTrade", "s": symbol, "a": int(row[0]), "p": row[1], "q": row[2], **ids}
    return time, event | {"T": time, "m": flag(row[6]), "M": flag(row[7])}


def trade(symbol: str, row: list[str]) -> tuple[int, dict[str, object]]:
    """Id, price, quantity, quote quantity, time, whether the buyer was the maker, whether it was the best price."""
    time = ms(row[4])
    event = {"e": "trade", "s": symbol, "t": int(row[0]), "p": row[1], "q": row[2]}
    return time, event | {"T": time, "m": flag(row[5]), "M": flag(row[6])}


KINDS: dict[str, tuple[str, Callable[[str, list[str]], tuple[int, dict[str, object]]]]] = {
    "aggTrades": ("aggTrade", aggregate),
    "trades": ("trade", trade),
}
"""What the file's name says: the stream, and what its rows are."""


def ms(time: str) -> int:
    """A time of the archive in ms since 1970."""
    number = int(time)
    return number // 1000 if number >= MICROSECONDS_FROM else number


def flag(text: str) -> bool:
    """`True`, `true`: in the course of the years both were written."""
    return text.lower() == "true"


def rows(path: Path) -> Iterator[list[str]]:
    """The rows of a file; a first one that names the columns is left out."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            lines = csv.reader(io.TextIOWrapper(file, "utf-8"))
            yield from (row for row in lines if row[0].isdecimal())
    else:
        with path.open(encoding="utf-8", newline="") as file:
            yield from (row for row in csv.reader(file) if row[0].isdecimal())


def main(paths: list[Path]) -> None:
    """Write each row of each file as a line."""
    for path in paths:
        symbol, kind = path.name.split("-")[:2]
        stream, understand = KINDS[kind]
        for row in rows(path):
            time, event = understand(symbol, row)
            frame = {"stream": f"{symbol.lower()}@{stream}", "data": event}
            print(time, json.dumps(frame, separators=(",", ":")))


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
