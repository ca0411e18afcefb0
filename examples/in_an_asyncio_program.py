"""The service inside an asyncio program, for as many seconds as you say.

python examples/in_an_asyncio_program.py 10
"""

import asyncio
import sys

import ingest_actors


async def main(seconds: float) -> None:
    """Start, look, stop by leaving the block."""
    settings = ingest_actors.Settings.from_env()
    try:
        async with ingest_actors.open_ingest(settings) as ingest:
            await asyncio.sleep(seconds)
            print("processed", ingest.get_metrics()["messages_processed"])
    except ingest_actors.IngestError as error:
        print("the service failed:", error)
        raise SystemExit(error.exit_code) from error
    print("stopped")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
