"""The actors: async functions that take from an inbox, work, and put into an outbox.

None of them imports the part that it drives; `ingest_actors.topology` hands that in.
"""
