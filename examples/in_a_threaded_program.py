"""The service in the background of a program without an event loop, for as many seconds as you say.

python examples/in_a_threaded_program.py 10
"""

import sys
import time

import ingest_actors


def main(seconds: float) -> None:
    """Start, look once a second, stop."""
    client = ingest_actors.IngestClient(ingest_actors.Settings.from_env())
    thread = client.start_in_background()  # returns once subscribed and Kafka answers, or raises
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(1.0, seconds))
        print("processed", client.get_metrics()["messages_processed"])
    client.stop(timeout_s=30)
    print("stopped", not thread.is_alive())


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
