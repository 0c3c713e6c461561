"""No entry of a published table from 1 to the least but one is shown, and none can be worked out from the others."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xinqiao.exchange.suppression import blanks, with_totals

LEAST = 5


def determined(rows: int, columns: int, blank: frozenset[tuple[int, int]]) -> set[tuple[int, int]]:
    """An oracle of another kind: Gauss elimination over the lines; an unknown alone in a row of the result is known."""
    unknown = sorted(blank)
    equations = []
    for row in range(rows + 1):
        equations.append([Fraction((1 if e[1] < columns else -1) if e[0] == row else 0) for e in unknown])
    for column in range(columns + 1):
        equations.append([Fraction((1 if e[0] < rows else -1) if e[1] == column else 0) for e in unknown])
    at = 0
    for index in range(len(unknown)):
        pivot = next((line for line in range(at, len(equations)) if equations[line][index]), None)
        if pivot is None:
            continue
        equations[at], equations[pivot] = equations[pivot], equations[at]
        equations[at] = [each / equations[at][index] for each in equations[at]]
        for line in range(len(equations)):
            if line != at and equations[line][index]:
                factor = equations[line][index]
                equations[line] = [a - factor * b for a, b in zip(equations[line], equations[at], strict=True)]
        at += 1
    known = set()
    for line in equations:
        places = [index for index, value in enumerate(line) if value]
        if len(places) == 1:
            known.add(unknown[places[0]])
    return known


tables = st.integers(1, 5).flatmap(
    lambda rows: st.integers(1, 5).flatmap(
        lambda columns: st.tuples(
            st.just(rows),
            st.just(columns),
            st.lists(st.integers(0, 12), min_size=rows * columns, max_size=rows * columns),
        )
    )
)


@given(tables)
@example((2, 2, [3, 10, 10, 10]))
@example((1, 1, [3]))
@example((3, 3, [0, 0, 2, 0, 0, 0, 0, 0, 0]))
def test_no_small_entry_is_shown_and_none_can_be_worked_out(drawn: tuple[int, int, list[int]]) -> None:
    rows, columns, values = drawn
    table = with_totals({(i // columns, i % columns): value for i, value in enumerate(values)}, rows, columns)
    blank = blanks(table, LEAST)
    assert {entry for entry, value in table.items() if 0 < value < LEAST} <= blank
    if blank != set(table):
        assert determined(rows, columns, blank) == set()


def test_what_is_blanked_besides_is_as_little_as_it_takes() -> None:
    table = with_totals({(0, 0): 3, (0, 1): 40, (1, 0): 6, (1, 1): 7}, 2, 2)
    assert blanks(table, LEAST) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert blanks(with_totals({(0, 0): 30, (0, 1): 40}, 1, 2), LEAST) == frozenset()


@pytest.mark.parametrize("least", [5, 10])
def test_nought_is_no_small_entry(least: int) -> None:
    assert blanks(with_totals({(0, 0): 0, (0, 1): 40, (1, 0): 50, (1, 1): 60}, 2, 2), least) == frozenset()
