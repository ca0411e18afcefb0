"""Writes `docs/SETTINGS.md` and `.env.example` from the settings themselves.

python docs/reference_settings.py            write both
python docs/reference_settings.py --check    say whether both are current, by the exit code
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ingest_actors.settings.broker import KafkaSettings
from ingest_actors.settings.exchange import ExchangeSettings
from ingest_actors.settings.field import env_name, spec_of, written
from ingest_actors.settings.options import PREFIXES
from ingest_actors.settings.service import ServiceSettings

REPOSITORY = Path(__file__).resolve().parent.parent
GROUPS: dict[str, type[BaseModel]] = {
    "The exchange": ExchangeSettings,
    "Kafka": KafkaSettings,
    "The service": ServiceSettings,
}
FIRST = (
    "binance_symbols", "binance_stream_types", "kafka_bootstrap_servers", "kafka_topic_raw_events",
    "kafka_topic_trades", "kafka_topic_depth", "reconnect_interval", "max_retries", "batch_size",
    "batch_timeout_seconds", "log_level", "log_format",
)  # fmt: skip
"""What people change first: not commented out in `.env.example`."""

INTRODUCTION = """\
# Settings

Written by `python docs/reference_settings.py` from the settings themselves; do not edit.

- The environment goes before the file of `--env-file` (default `.env`, which may be absent), the file before defaults.
- An empty value is the same as none, so that `NAME=${NAME:-}` in a compose file does no harm.
- Values in the file are taken as they stand: nothing is interpolated. Quote a value that holds ` #`.
- Every problem is reported at once, with exit code 2. A name that begins with `BINANCE_` or `KAFKA_` and is none of
  these is refused with the nearest that is. What container platforms set by themselves for a service that happens to be
  called `kafka` or `http` (`KAFKA_SERVICE_HOST`, `KAFKA_PORT=tcp://...`, `KAFKA_PORT_9092_TCP`) is ignored.
- Secrets are shown as `***`, in logs and in error texts.
- `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` lead to the exchange: see [Proxies](how-to/proxies.md).
- Sizes: bytes, or with a unit (`512k`, `64MiB`, `10GiB`); units are binary.
- In Python: `Settings(batch_size=500)`, `Settings.from_env()`; attributes are the names in lower case.
"""


def rows(group: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The names, as they are written, and the fields."""
    prefixes = {field: f"{prefix}<OPTION>" for prefix, field in PREFIXES.items()}
    return [(prefixes.get(name, env_name(name)), field) for name, field in group.model_fields.items()]


def default_of(field: FieldInfo) -> str:
    """As it is written in the environment; empty for what is unset."""
    default = field.get_default(call_default_factory=True)
    return "" if default == {} else written(default, in_bytes=spec_of(field).in_bytes)


def markdown() -> str:
    """The whole of `docs/SETTINGS.md`."""
    parts = [INTRODUCTION]
    for title, group in GROUPS.items():
        parts.append(f"\n## {title}\n\n| name | default | meaning | accepted |\n|---|---|---|---|\n")
        for name, field in rows(group):
            spec = spec_of(field)
            default = f"`{default_of(field)}`" if default_of(field) else spec.unset
            cells = (f"`{name}`", default, spec.meaning, spec.kind.accepts)
            parts.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return "".join(parts)


def env_example() -> str:
    """The whole of `.env.example`."""
    lines = [
        "# Copy this file to .env and change what you need. Lines that are commented out show the defaults.",
        "# docs/SETTINGS.md says what each accepts. Written by docs/reference_settings.py.",
    ]
    for title, group in GROUPS.items():
        lines += ["", f"# --- {title} ---"]
        for (name, field), key in zip(rows(group), group.model_fields, strict=True):
            spec = spec_of(field)
            meaning = spec.meaning.replace("`", "")
            lines += ["", *textwrap.wrap(meaning, 110, initial_indent="# ", subsequent_indent="# ")]
            value = default_of(field)
            example = f"{name}={value}".replace("PRODUCER_<OPTION>=", "PRODUCER_LINGER_MS=20").replace(
                "<OPTION>=", "CLIENT_RACK=a"
            )
            lines.append(example if key in FIRST else f"#{example}")
    return "\n".join(lines) + "\n"


FILES = {"docs/SETTINGS.md": markdown, ".env.example": env_example}


def main(arguments: list[str]) -> int:
    """Write both files, or check them."""
    stale = [name for name, render in FILES.items() if _read(REPOSITORY / name) != render()]
    if "--check" in arguments:
        print(f"stale: {', '.join(stale)}" if stale else "current")
        return int(bool(stale))
    for name in stale:
        (REPOSITORY / name).write_text(FILES[name](), encoding="utf-8")
    print(f"written: {', '.join(stale) or 'nothing, all was current'}")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
