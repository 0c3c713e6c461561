"""Guardians beside their students: names in a temporary file, and in memory only where each stands."""

import os
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from xinqiao.api.common.v1.types_pb2 import Guardian
from xinqiao_school.index import Marks, positions

_MAX_GUARDIANS = 8


class Carers:
    """Finds the guardians of many students at once; their names stay in the file."""

    def __init__(self, file: IO[bytes], ids: Marks, places: Marks, pairs: NDArray[np.uint64]) -> None:
        file.flush()
        self._number = file.fileno()
        order = np.argsort(ids, kind="stable")
        self._ids = ids[order]
        self._places = places[order]
        at = positions(self._ids, np.ascontiguousarray(pairs[:, 1]))
        self._students, self._at = np.ascontiguousarray(pairs[at >= 0, 0]), at[at >= 0]

    def of(self, students: Marks) -> Iterator[list[Guardian]]:
        """The guardians of each, at most eight."""
        first = np.searchsorted(self._students, students, "left").tolist()
        last = np.searchsorted(self._students, students, "right").tolist()
        for start, end in zip(first, last, strict=True):
            if start == end:
                yield []
                continue
            places = dict.fromkeys(self._places[self._at[start:end]].tolist())
            yield [self._read(place) for place in list(places)[:_MAX_GUARDIANS]]

    def _read(self, place: int) -> Guardian:
        return Guardian.FromString(os.pread(self._number, place & 0xFFFF, place >> 16))
