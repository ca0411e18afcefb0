"""Recordings of the exchange, below everything that makes or plays them: their lines, reading, writing.

`lines` knows every line that may stand in a recording, `own` those that only `record` writes; `reader` reads files of
any of these formats in bounded memory, `writer` writes ours.
"""
