"""The spool: what Kafka does not take waits on the disk, in order, and goes out ahead of what comes later.

`SpoolingSink` puts itself before any sink; `with_spool` makes one by the settings.
"""

from ingest_actors.spool.opening import with_spool as with_spool
from ingest_actors.spool.sink import SpoolingSink as SpoolingSink
