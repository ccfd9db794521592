"""Fewer cases for `make check`, which sets COPYMART_TEST_QUICK; `make test` tries all."""

import os

QUICK = "COPYMART_TEST_QUICK" in os.environ


def examples(number: int) -> int:
    """How many examples of so many a property test tries: a tenth, and at least two, for `make check`."""
    return max(2, number // 10) if QUICK else number


def points(places: range) -> range:
    """Where a run is broken off: at every third of the places, for `make check`."""
    return places[::3] if QUICK else places
