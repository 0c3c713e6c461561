"""Small cells: which entries of a published table are left blank, so that nobody can be counted out of it.

Primary suppression blanks an entry from 1 to ``least - 1``; complementary suppression blanks as many others as it takes
that none can be worked out from the totals. In a table of two dimensions with totals every line is one equation over its
entries, so the entries are the edges of a bipartite graph of rows and columns: a blank one is determined exactly when it
is a bridge of the graph of blanks. (Kelly, Golden, Assad: Cell suppression, Networks 22, 1992.)
"""

import heapq
from collections.abc import Iterable, Mapping
from typing import Final

Entry = tuple[int, int]
"""(row, column); the last row and the last column are the totals."""

_ZERO_COSTS: Final = 1_000_000
"""A nought that is blank protects badly: it is taken only where nothing else is there."""


def with_totals(cells: Mapping[Entry, int], rows: int, columns: int) -> dict[Entry, int]:
    """The table with its totals in row ``rows`` and column ``columns``; a missing cell is nought."""
    table = {(row, column): cells.get((row, column), 0) for row in range(rows) for column in range(columns)}
    for row in range(rows):
        table[row, columns] = sum(table[row, column] for column in range(columns))
    for column in range(columns + 1):
        table[rows, column] = sum(table[row, column] for row in range(rows))
    return table


def blanks(table: Mapping[Entry, int], least: int) -> frozenset[Entry]:
    """The entries of a table with totals that must be blank. Deterministic."""
    blank = {entry for entry, value in table.items() if 0 < value < least}
    while (bridge := _bridge(blank)) is not None:
        around = _detour(table, blank, bridge)
        if around is None:  # a table of one row or one column: nothing protects but to show nothing
            return frozenset(table)
        blank |= around
    return frozenset(blank)


def _bridge(blank: Iterable[Entry]) -> Entry | None:
    """The first blank entry that its lines determine: no way leads around it over other blanks."""
    edges = sorted(blank)
    for edge in edges:
        others = [other for other in edges if other != edge]
        if ("c", edge[1]) not in _reached(("r", edge[0]), others):
            return edge
    return None


def _reached(start: tuple[str, int], edges: list[Entry]) -> set[tuple[str, int]]:
    near: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for row, column in edges:
        near.setdefault(("r", row), []).append(("c", column))
        near.setdefault(("c", column), []).append(("r", row))
    seen, waiting = {start}, [start]
    while waiting:
        for node in near.get(waiting.pop(), ()):
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return seen


def _detour(table: Mapping[Entry, int], blank: set[Entry], bridge: Entry) -> set[Entry] | None:
    """The entries to blank besides, that loses least: the cheapest way from the bridge's row to its column."""
    start, goal = ("r", bridge[0]), ("c", bridge[1])
    costs, came = {start: 0}, {start: (start, bridge)}
    waiting = [(0, start)]
    while waiting:
        cost, node = heapq.heappop(waiting)
        if node == goal:
            break
        if cost > costs[node]:
            continue
        side, number = node
        for entry in table:
            if entry == bridge or entry[side == "c"] != number:
                continue
            other = ("c", entry[1]) if side == "r" else ("r", entry[0])
            price = cost + (0 if entry in blank else table[entry] or _ZERO_COSTS)
            if price < costs.get(other, price + 1):
                costs[other], came[other] = price, (node, entry)
                heapq.heappush(waiting, (price, other))
    if goal not in came:
        return None
    found: set[Entry] = set()
    node = goal
    while node != start:
        node, entry = came[node]
        found.add(entry)
    return found
