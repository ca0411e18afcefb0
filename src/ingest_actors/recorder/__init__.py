"""`record`: the service with a tape before its parser, and a sink that keeps nothing."""

from ingest_actors.recorder.run import Recorded as Recorded
from ingest_actors.recorder.run import RecordOptions as RecordOptions
from ingest_actors.recorder.run import run_recorder as run_recorder
