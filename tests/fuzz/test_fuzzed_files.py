"""Some hundreds of each kind of file from a seed, each time; `fuzz_files.py` has more when asked."""

from __future__ import annotations

from fuzz_files import run


def test_whatever_is_read_is_read_or_refused_in_words():
    for outcomes in run(seed=3, count=200).values():
        assert sum(outcomes.values()) == 200
        assert outcomes.keys() - {"read"}
