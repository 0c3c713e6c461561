"""No entry of a published table from 1 to the least but one is shown, and the others tell no more of it than that."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xinqiao.exchange.suppression import blanks, with_totals

LEAST = 4


def possible(
    table: dict[tuple[int, int], int], blank: frozenset[tuple[int, int]], least: int
) -> dict[tuple[int, int], set[int]]:
    """An oracle of another kind: each way to fill the blank cells by the rule that agrees with every printed total."""
    rows, columns = max(table)
    unknown = sorted(each for each in blank if each[0] < rows and each[1] < columns)
    found: dict[tuple[int, int], set[int]] = {each: set() for each in unknown}
    for values in itertools.product(range(1, least), repeat=len(unknown)):
        cells = {each: table[each] for each in table if each[0] < rows and each[1] < columns}
        cells.update(zip(unknown, values, strict=True))
        filled = with_totals(cells, rows, columns)
        if all(filled[each] == table[each] for each in table if each not in blank):
            for each, value in zip(unknown, values, strict=True):
                found[each].add(value)
    return found


tables = st.integers(1, 4).flatmap(
    lambda rows: st.integers(1, 3).flatmap(
        lambda columns: st.tuples(
            st.just(rows),
            st.just(columns),
            st.lists(st.sampled_from([0, 0, 1, 2, 3, 4, 9, 20]), min_size=rows * columns, max_size=rows * columns),
        )
    )
)


@settings(max_examples=60)
@given(tables)
@example((2, 2, [3, 10, 10, 10]))
@example((1, 1, [3]))
@example((4, 1, [10, 1, 1, 1]))  # the demo's signals by source: 13 in all, 10 of a screening, three blanks
@example((3, 3, [0, 0, 2, 0, 0, 0, 0, 0, 0]))
def test_a_blank_cell_can_be_anything_that_the_rule_lets_it_be(drawn: tuple[int, int, list[int]]) -> None:
    rows, columns, values = drawn
    if sum(0 < value < LEAST for value in values) > 8:
        values = [value if index < 8 else 0 for index, value in enumerate(values)]
    table = with_totals({(i // columns, i % columns): value for i, value in enumerate(values)}, rows, columns)
    blank = blanks(table, LEAST)
    assert {entry for entry, value in table.items() if 0 < value < LEAST} <= blank
    assert {entry for entry in blank if entry[0] < rows and entry[1] < columns and table[entry] >= LEAST} == set()
    for entry, could in possible(table, blank, LEAST).items():
        assert could == set(range(1, LEAST)), entry


def test_of_many_small_cells_the_total_may_be_told() -> None:
    table = with_totals({(row, 0): 1 + row % 4 for row in range(20)}, 20, 1)
    assert (20, 0) not in blanks(table, 5)


def test_what_is_blanked_besides_is_as_little_as_it_takes() -> None:
    table = with_totals({(0, 0): 3, (0, 1): 40, (1, 0): 6, (1, 1): 7}, 2, 2)
    assert blanks(table, 5) == {(0, 0), (0, 2), (2, 0), (2, 2)}
    assert blanks(with_totals({(0, 0): 30, (0, 1): 40}, 1, 2), 5) == frozenset()


@pytest.mark.parametrize("least", [5, 10])
def test_nought_is_no_small_entry(least: int) -> None:
    assert blanks(with_totals({(0, 0): 0, (0, 1): 40, (1, 0): 50, (1, 1): 60}, 2, 2), least) == frozenset()


def test_totals_of_persons_go_with_any_blank_of_their_line() -> None:
    cells = {(0, 0): 120, (0, 1): 3, (1, 0): 30, (1, 1): 40}
    table = with_totals(cells, 2, 2) | {(0, 2): 122, (1, 2): 45}  # some answered both
    assert blanks(table, 5, sums=False) == {(0, 1), (0, 2), (2, 1), (2, 2)}
