"""Writes what the pages of `docs/reference/` take from the code: between markers, what people write stays.

python docs/reference.py            write
python docs/reference.py --check    say whether all is current, by the exit code
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from reference_api import package_api, testing_api
from reference_commands import commands
from reference_metrics import metrics
from reference_records import dead_letter_reasons, gap_reasons, streams

PAGES = Path(__file__).resolve().parent / "reference"
PARTS: dict[str, Callable[[], str]] = {
    "api": package_api,
    "testing": testing_api,
    "commands": commands,
    "metrics": metrics,
    "streams": streams,
    "gap-reasons": gap_reasons,
    "dead-letter-reasons": dead_letter_reasons,
}
"""What may stand between `<!-- code: NAME -->` and `<!-- /code -->`."""

_PART = re.compile(r"(<!-- code: ([\w-]+) -->\n).*?(<!-- /code -->)", re.DOTALL)


def fill(text: str) -> str:
    """A page with everything between its markers as the code is now."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", text)


def main(arguments: list[str], pages: Path = PAGES) -> int:
    """Write the pages, or check them."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(pages.glob("*.md"))}
    stale = [path for path, text in texts.items() if fill(text) != text]
    if "--check" in arguments:
        print(f"stale: {', '.join(path.name for path in stale)}" if stale else "current")
        return int(bool(stale))
    for path in stale:
        path.write_text(fill(texts[path]), encoding="utf-8")
    print(f"written: {', '.join(path.name for path in stale) or 'nothing, all was current'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
