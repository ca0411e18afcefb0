"""The service inside other programs: `serve` for trio, `open_ingest` for asyncio as well, `IngestClient` for threads.

Embedded there is no signal handler, no logging set-up, no HTTP server and no global state; several services run in one
process. A failure reaches the host as one `IngestError`.
"""

from ingest_actors.embedding.block import AsyncIngest as AsyncIngest
from ingest_actors.embedding.block import open_ingest as open_ingest
from ingest_actors.embedding.client import IngestClient as IngestClient
from ingest_actors.embedding.serving import Ingest as Ingest
from ingest_actors.embedding.serving import serve as serve
