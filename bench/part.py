"""What a part of the suite is given, and what it gives back.

A part is a module ``part_<name>.py`` with

    NAME, ABOUT             its name, and one line that says what it answers
    COLUMNS                 which figures of the summary its table shows: {figure: (heading, digits)}
    run(bench) -> dict      {"rows": [every run], "summary": {who: {figure: spread}}, "bars": [what must be reached]}
    plot(result, axes)      one picture of the result; with ``PANELS = 2`` a list of so many axes

and, where a table by COLUMNS does not say it, ``table(result) -> str`` in Markdown. `suite.py` finds it, runs it, and
writes ``results/<name>.json`` and ``.png``; `report.py` puts tables and bars where documents want them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import broker, summarise


@dataclass
class Bench:
    """One sitting: what all parts share.

    Attributes:
        logs: a directory for what the processes say.
        quick: whether a look is enough: little of everything, and nothing that is fit to be quoted.
        given_rounds: how often each contestant runs, if the caller says so.
        bootstrap_servers: the caller's brokers; None: one of our own, started when a part first asks for it.
    """

    logs: Path
    quick: bool = False
    given_rounds: int | None = None
    bootstrap_servers: str | None = None
    kafka: str = "none"
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _servers: str = ""

    @property
    def servers(self) -> str:
        """The brokers."""
        if not self._servers:
            self._servers, self.kafka = self._open.enter_context(broker(self.bootstrap_servers))
        return self._servers

    def rounds(self, full: int) -> int:
        """How often each contestant runs: ``full`` times, unless the caller said otherwise."""
        return self.given_rounds or (1 if self.quick else full)

    def size(self, full: int) -> int:
        """How much of it: ``full``, or a fifth where a look is enough."""
        return full // 5 if self.quick else full

    def tell(self, row: Mapping[str, Any]) -> None:
        """Show one run as soon as it is over."""
        print(json.dumps(row), flush=True)

    def close(self) -> None:
        self._open.close()
        self._servers = ""


def in_turn(contestants: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Round and contestant: all of them in each round, every other round the other way about.

    So whatever else the machine does hits all, and nobody always follows the same one.
    """
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            yield number, contestant


def spreads(rows: Iterable[Mapping[str, Any]], figures: Iterable[str], by: str = "client") -> dict[str, dict[str, Any]]:
    """Median and spread of each figure, for each contestant in the order of its first run."""
    rows, figures = list(rows), list(figures)
    return {
        who: {name: summarise([row[name] for row in rows if row[by] == who]) for name in figures}
        for who in dict.fromkeys(row[by] for row in rows)
    }


def ratio(
    rows: Iterable[Mapping[str, Any]], figure: str, over: str, under: str, by: str = "client"
) -> dict[str, float]:
    """Median and spread of ``over / under``, each taken within one round.

    A machine that is slower in one round than in another is so for both.
    """
    found: dict[tuple[str, int], float] = {(row[by], row["round"]): row[figure] for row in rows}
    numbers = sorted({number for _, number in found})
    return summarise([found[over, number] / found[under, number] for number in numbers])


def bar(name: str, figure: float | None, *, at_least: float | None = None, at_most: float | None = None, unit: str = "",
        why: str = "") -> dict[str, Any]:  # fmt: skip
    """One thing that must be reached, and whether it is.

    Args:
        name: what is compared.
        figure: what was found; None: it could not be measured here, ``why`` says why.
        at_least: the bar, or else
        at_most: the bar.
        unit: of both, empty for a ratio.
        why: what stands in the way.
    """
    text = f"at least {at_least:g}{unit}" if at_least is not None else f"at most {at_most:g}{unit}"
    met = None
    if figure is not None:
        met = figure >= at_least if at_least is not None else figure <= float(at_most or 0)
    return {"name": name, "figure": figure, "unit": unit, "bar": text, "met": met, "why": why}
