"""`replay`: the service with a player of recordings in place of the exchange."""

from ingest_actors.replayer.player import Player as Player
from ingest_actors.replayer.run import Replayed as Replayed
from ingest_actors.replayer.run import run_replay as run_replay
