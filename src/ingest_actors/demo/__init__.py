"""The service against the simulated exchange and the embedded Kafka: something to look at, with nothing installed."""

from ingest_actors.demo.run import DemoOptions as DemoOptions
from ingest_actors.demo.run import run_demo as run_demo
