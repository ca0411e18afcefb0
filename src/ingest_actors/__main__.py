"""argv → command → exit code, nothing else."""

import sys

from ingest_actors import cli


def main() -> int:
    """The program; `sys.exit` its result."""
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
