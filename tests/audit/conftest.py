"""The tests of the sink know how to have topics, rules and a login on a broker."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "kafka"))
