"""A run imports what it needs: what it may do without, or may have later, does not hold up the first record."""

import json
import os
import subprocess
import sys

LATER = {
    "hypercorn": "the web server, while it listens already",
    "starlette": "likewise",
    "prometheus_client": "likewise",
    "sqlite3": "the spool, where SPOOL_DIR is set",
    "jinja2": "never",
    "trustme": "the simulated exchange",
    "ingest_actors.simulator": "`simulate` and `demo`",
    "ingest_actors.audit": "`audit`",
}


def test_a_run_has_neither_web_server_nor_database_when_it_begins():
    program = """
import json, sys
import ingest_actors.cli, ingest_actors.commands.start, ingest_actors.commands.reloading, ingest_actors.commands.run
print(json.dumps(sorted(sys.modules)))
"""
    # Measuring coverage in it would import a database of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60, env=env)
    imported = set(json.loads(done.stdout))
    assert "ingest_actors.service" in imported
    assert imported.isdisjoint(LATER)
