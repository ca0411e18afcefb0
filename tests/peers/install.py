"""Install other people's clients into an environment of their own: ``python install.py DIRECTORY [REQUIREMENTS ...]``.

Each ``requirements-<client>.txt`` (those beside this file, if none is named) is installed by itself. A client that must
be compiled, on a machine that cannot, is left out: the reason goes to ``DIRECTORY/without-<client>``, and its tests are
skipped with it. Anything else that goes wrong is an error.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPILED = {"cryptofeed"}
"""Clients that come as source for this machine."""


def main(directory: Path, wanted: Sequence[Path] = ()) -> None:
    """Install every client that can be."""
    python = directory / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    for requirements in wanted or sorted(HERE.glob("requirements-*.txt")):
        client = requirements.stem.removeprefix("requirements-")
        left_out = directory / f"without-{client}"
        left_out.unlink(missing_ok=True)
        reason = cannot_compile() if client in COMPILED else ""
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-r", requirements]
        done = subprocess.run(pip, check=False)
        if done.returncode and reason:
            left_out.write_text(reason)
            sys.stderr.write(f"{client} is left out, and its tests are skipped: {reason}\n")
        elif done.returncode:
            raise SystemExit(f"{client} could not be installed")


def cannot_compile() -> str:
    """Why this machine cannot compile an extension module; empty when it can."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    missing = [] if shutil.which(compiler) or shutil.which("cc") else [f"C compiler ({compiler})"]
    if not headers.exists():
        missing.append(f"header file of Python ({headers})")
    return f"it must be compiled, and there is no {' and no '.join(missing)}" if missing else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), [Path(name) for name in sys.argv[2:]])
