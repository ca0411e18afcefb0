"""Tables and plots of the last results, put into the documents between markers: no figure is typed by hand.

    python bench/report.py            # after `suite.py`, which calls it itself
    python bench/report.py --check    # exit 1 if a document does not say what the results say

Markers, each on a line of its own or within one, closed by ``<!-- /bench -->``:

    <!-- bench:parts -->              every part: what it says of itself, its table, its picture
    <!-- bench:table pipeline -->     the part's table, and how often and on what it was taken
    <!-- bench:plot pipeline -->      its picture
    <!-- bench:bars -->               what must be reached, and whether it is; with names: of these parts alone
    <!-- bench:value pipeline summary.naive.messages_per_s.median ,.0f -->    one figure, in Python's format
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
RESULTS = BENCH / "results"
DOCUMENTS = (BENCH / "README.md", ROOT / "README.md", ROOT / "docs/PERFORMANCE.md")
MARKER = re.compile(r"(<!-- bench:(\w+) ?([^>]*?) -->)(.*?)(<!-- /bench -->)", re.DOTALL)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[int] = (0,)) -> str:
    """A table; all columns but those of words are figures and stand to the right."""
    rule = ["---" if column in words else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def spread(values: Mapping[str, float] | float, digits: int) -> str:
    """Median, and lowest to highest in brackets where they differ."""
    if not isinstance(values, Mapping):
        return f"{values:,.{digits}f}"
    low, middle, high = (f"{values[name]:,.{digits}f}" for name in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low} to {high})"


def table(module: ModuleType, result: Mapping[str, Any]) -> str:
    """A part's table in Markdown: its own, or by its COLUMNS."""
    if hasattr(module, "table"):
        return str(module.table(result))
    columns: Mapping[str, tuple[str, int]] = module.COLUMNS
    rows = [
        [who, *(spread(found[name], digits) if name in found else "-" for name, (_, digits) in columns.items())]
        for who, found in result["summary"].items()
    ]
    text = markdown([getattr(module, "WHO", "client"), *(heading for heading, _ in columns.values())], rows)
    absent = [f"{name}: {reason}." for name, reason in result.get("absent", {}).items()]
    return "\n\n".join([text, *(["Not measured here: " + " ".join(absent)] if absent else [])])


def bars(results: Sequence[Mapping[str, Any]]) -> str:
    """What must be reached, and what was."""
    rows = [
        [
            found["name"],
            "not measured" if found["figure"] is None else f"{found['figure']:,.2f}{found.get('unit', '')}",
            found["bar"],
            {True: "yes", False: "**no**", None: "-"}[found["met"]] + (f": {found['why']}" if found.get("why") else ""),
        ]
        for result in results
        for found in result["bars"]
    ]
    return markdown(("what", "figure", "bar", "met"), rows, words=(0, 2, 3)) if rows else "No bars in these parts."


def prose(module: ModuleType) -> str:
    """What a part's docstring says, without the commands in it."""
    lines = [line for line in (module.__doc__ or "").splitlines() if not line.startswith("    ")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def taken_on(result: Mapping[str, Any]) -> str:
    """The machine, in one line."""
    about = result["about"]
    rounds = len({row["round"] for row in result["rows"] if "round" in row})
    often = f"{rounds} alternating rounds, median (lowest to highest). " if rounds > 1 else ""
    versions = ", ".join(f"{name} {about[name]}" for name in ("trio", "confluent-kafka") if name in about)
    return (
        f"{often}{about['cores']} cores of {about['cpu']}, {about['memory_gib']} GiB, {about['system']}, "
        f"Python {about['python']}, {versions}; load before {about['load_before']}, {about['at'][:10]}."
    )


class Documents:
    """What the markers stand for.

    Args:
        modules: the parts, by name.
        results: their last results, by name; a part without one is said to be so.
    """

    def __init__(self, modules: Mapping[str, ModuleType], results: Mapping[str, Any]) -> None:
        self._modules = modules
        self._results = results

    def fill(self, text: str, place: Path) -> str:
        """A document's text with everything between its markers as it must be."""

        def replaced(found: re.Match[str]) -> str:
            opening, kind, rest, _, closing = found.groups()
            inner = getattr(self, f"_{kind}")(*rest.split(), place=place)
            return f"{opening}{inner}{closing}"

        return MARKER.sub(replaced, text)

    def _parts(self, *, place: Path) -> str:
        sections = [
            f"### {name}\n\n{prose(module)}{self._table(name, place=place)}{self._plot(name, place=place).lstrip()}"
            if name in self._results
            else f"### {name}\n\n{prose(module)}{self._nothing(name)}"
            for name, module in self._modules.items()
        ]
        return "\n\n" + "".join(sections)

    def _table(self, name: str, *, place: Path) -> str:
        del place
        result = self._results.get(name)
        return f"\n\n{table(self._modules[name], result)}\n\n{taken_on(result)}\n\n" if result else self._nothing(name)

    def _plot(self, name: str, *, place: Path) -> str:
        if name not in self._results:
            return self._nothing(name)
        picture = os.path.relpath(RESULTS / f"{name}.png", place.parent)
        return f"\n\n![{name}: {self._modules[name].ABOUT}]({picture})\n\n"

    def _bars(self, *names: str, place: Path) -> str:
        del place
        results = [self._results[name] for name in names or self._modules if name in self._results]
        return f"\n\n{bars(results)}\n\n" if results else "\n\nNot measured yet: `make bench`.\n\n"

    def _value(self, name: str, path: str, form: str = "", *, place: Path) -> str:
        del place
        if name not in self._results:
            return "(not measured yet)"
        return format(reduce(lambda at, key: at[key], path.split("."), self._results[name]), form)

    def _nothing(self, name: str) -> str:
        return f"\n\nNot measured yet: `make bench PART={name}`.\n\n"


def read_results(directory: Path = RESULTS) -> dict[str, Any]:
    """The last result of each part."""
    found = (json.loads(path.read_text()) for path in sorted(directory.glob("*.json")))
    return {result["part"]: result for result in found if "part" in result}


def write_documents(modules: Mapping[str, ModuleType], *, check: bool = False) -> list[Path]:
    """Fill in all documents.

    Args:
        modules: the parts, by name.
        check: write nothing.

    Returns:
        Those that said something else.
    """
    documents, changed = Documents(modules, read_results()), []
    for path in DOCUMENTS:
        if path.exists() and (filled := documents.fill(before := path.read_text(), path)) != before:
            changed.append(path)
            if not check:
                path.write_text(filled)
    return changed


def main() -> int:
    from suite import parts  # noqa: PLC0415 - it imports this module

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    changed = write_documents(parts(), check=options.check)
    for path in changed:
        print(f"{path.relative_to(ROOT)}: {'differs from the results' if options.check else 'written'}")
    return 1 if changed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
