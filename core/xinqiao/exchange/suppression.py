"""Small cells: which entries of a published table are left blank, so that nobody can be counted out of it.

Primary suppression blanks an entry from 1 to ``least - 1``: the reader knows that much of a blank cell, by the rule.
Complementary suppression blanks totals until what is printed tells no more of it than that: with every total that
stays, each blank cell can still be anything from 1 to ``least - 1`` in whole numbers. It is totals that go, never a
cell that is large enough.

A table of two dimensions whose lines add up is a network (rows, columns, cells between them), and what a cell can be at
most is a flow around it from the true table. (Kelly, Golden, Assad: Cell suppression, Networks 22, 1992; Hundepool et
al.: Statistical Disclosure Control, 2012, chapter 4, on intervals.)
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

Entry = tuple[int, int]
"""(row, column); the last row and the last column are the totals."""

_FREE: Final = 1 << 40
_Node = tuple[str, int]
_SOURCE, _SINK = ("s", 0), ("t", 0)


def with_totals(cells: Mapping[Entry, int], rows: int, columns: int) -> dict[Entry, int]:
    """The table with its sums in row ``rows`` and column ``columns``; a missing cell is nought."""
    table = {(row, column): cells.get((row, column), 0) for row in range(rows) for column in range(columns)}
    for row in range(rows):
        table[row, columns] = sum(table[row, column] for column in range(columns))
    for column in range(columns + 1):
        table[rows, column] = sum(table[row, column] for row in range(rows))
    return table


def blanks(table: Mapping[Entry, int], least: int, *, sums: bool = True) -> frozenset[Entry]:
    """The entries of a table with totals that must be blank. Deterministic.

    ``sums`` False is for a table of persons whose totals are no sums, as one person stands in several cells: what a
    total tells of a blank cell of its line is not worked out then, it goes.
    """
    rows, columns = max(table)
    blank = {entry for entry, value in table.items() if 0 < value < least}
    inside = sorted(entry for entry in blank if entry[0] < rows and entry[1] < columns)
    if not sums:
        for row, column in inside:
            blank |= {(row, columns), (rows, column), (rows, columns)}
        return frozenset(blank)
    while (narrow := next((each for each in inside if not _open(each, table, blank, inside, least)), None)) is not None:
        # Of the totals that could tell of it the smallest goes, so that as little as can be is lost.
        printed = [each for each in _totals(narrow, rows, columns) if each not in blank]
        elsewhere = [each for cell in inside for each in _totals(cell, rows, columns) if each not in blank]
        blank.add(min(printed or elsewhere, key=lambda each: (table[each], each)))
    return frozenset(blank)


def _totals(cell: Entry, rows: int, columns: int) -> tuple[Entry, Entry, Entry]:
    return (cell[0], columns), (rows, cell[1]), (rows, columns)


def _open(cell: Entry, table: Mapping[Entry, int], blank: set[Entry], inside: list[Entry], least: int) -> bool:
    """Whether the cell can be 1 and can be ``least - 1``, whatever total is printed."""
    row, column = ("r", cell[0]), ("c", cell[1])
    up, down = least - 1 - table[cell], table[cell] - 1
    return _flow(_room(table, blank, inside, cell, least), column, row, up) and _flow(
        _room(table, blank, inside, cell, least), row, column, down
    )


def _room(
    table: Mapping[Entry, int], blank: set[Entry], inside: list[Entry], cell: Entry, least: int
) -> dict[_Node, dict[_Node, int]]:
    """By how much each other blank cell and each blank total could be more, or less (the way back)."""
    rows, columns = max(table)
    room: dict[_Node, dict[_Node, int]] = {}

    def way(start: _Node, end: _Node, more: int, less: int) -> None:
        room.setdefault(start, {})[end] = more
        room.setdefault(end, {})[start] = less

    for each in inside:
        if each != cell:
            way(("r", each[0]), ("c", each[1]), least - 1 - table[each], table[each] - 1)
    for row in {each[0] for each in inside}:
        free = _FREE if (row, columns) in blank else 0
        way(_SOURCE, ("r", row), free, free)
    for column in {each[1] for each in inside}:
        free = _FREE if (rows, column) in blank else 0
        way(("c", column), _SINK, free, free)
    free = _FREE if (rows, columns) in blank else 0
    way(_SINK, _SOURCE, free, free)
    return room


def _flow(room: dict[_Node, dict[_Node, int]], start: _Node, goal: _Node, wanted: int) -> bool:
    """Whether so much goes from ``start`` to ``goal`` (shortest augmenting paths: Edmonds, Karp 1972)."""
    while wanted > 0:
        came: dict[_Node, _Node] = {start: start}
        waiting = deque([start])
        while waiting and goal not in came:
            node = waiting.popleft()
            for other, left in room[node].items():
                if left > 0 and other not in came:
                    came[other] = node
                    waiting.append(other)
        if goal not in came:
            return False
        path = [goal]
        while path[-1] != start:
            path.append(came[path[-1]])
        steps = list(zip(path[1:], path[:-1], strict=True))
        much = min(wanted, *(room[a][b] for a, b in steps))
        for a, b in steps:
            room[a][b] -= much
            room[b][a] += much
        wanted -= much
    return True
