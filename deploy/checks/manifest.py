"""Prints what the pod of deploy/kubernetes/base is started with, a word a line: NAME=value ..., program, arguments.

manifest.py [NAME=value ...]     these instead of the manifest's own, or beside them
"""

import sys
from pathlib import Path

import yaml

BASE = Path(__file__).resolve().parent.parent / "kubernetes" / "base"
ENTRYPOINT = ("python", "-m", "ingest_actors")
"""The image's own."""

[container] = yaml.safe_load((BASE / "statefulset.yaml").read_text())["spec"]["template"]["spec"]["containers"]
environment = {item["name"]: item["value"] for item in container["env"] if "value" in item}
environment |= dict(argument.split("=", 1) for argument in sys.argv[1:])
print(*(f"{name}={value}" for name, value in environment.items()), *ENTRYPOINT, *container["args"], sep="\n")
