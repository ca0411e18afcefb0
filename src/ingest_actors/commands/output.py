"""What commands answer on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version


def announce(ready: Mapping[str, object]) -> None:
    """One line of JSON, at once: scripts wait for it."""
    print(json.dumps(ready), flush=True)


def say(text: str) -> None:
    """A line of an answer."""
    print(text, flush=True)


def tell(text: str) -> None:
    """A line for people beside the answer, to stderr."""
    print(text, file=sys.stderr, flush=True)


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, columns without content left out: on a terminal within its width, elsewhere a row a line.

    A cell may have lines; they stand below each other on a terminal alone.
    """
    from rich import box  # noqa: PLC0415 - commands that print no table start faster without
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        _say_lines([[row[index].replace("\n", " ") for index in kept] for row in (columns, *rows)])
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index in kept:
        table.add_column(columns[index], overflow="fold")
    for row in rows:
        table.add_row(*[Text(row[index]) for index in kept])
    console.print(table)


def _say_lines(lines: Sequence[Sequence[str]]) -> None:
    """Columns below each other, however wide, then an empty line; nothing is wrapped, cut or drawn."""
    from rich.cells import cell_len  # noqa: PLC0415

    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    for cells in lines:
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        say("  ".join(padded).rstrip())
    say("")


def program_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("ingest-actors")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
