"""Proof of continuity from Kafka's topics alone.

The checkers know neither Kafka nor files: `Auditor` takes the records of topics in the order of their partitions and
gives a `Report`. `run.run_audit` feeds it from a cluster.
"""

from ingest_actors.audit.auditor import Auditor as Auditor
from ingest_actors.audit.records import Record as Record
from ingest_actors.audit.records import Role as Role
from ingest_actors.audit.report import Report as Report
