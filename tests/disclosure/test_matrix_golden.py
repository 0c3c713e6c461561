"""The matrix as people read it: frozen as a file, and what a change of the policy opens or shuts."""

import difflib
from collections.abc import Iterator
from pathlib import Path

import pytest

from xinqiao.disclosure.matrix import BASIS, CONSENT, EITHER, FREE, NEVER, Cell, Change, cells, changes
from xinqiao.disclosure.policy import Policy, load_policy

FILE = Path(__file__).resolve().parents[2] / "config" / "policy" / "disclosure.yaml"
GOLDEN = Path(__file__).with_name("golden") / "matrix.txt"


def lines(policy: Policy) -> Iterator[str]:
    """A line for each role, purpose and relation that may see anything, its classes by what they take."""
    rows: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for cell, takes in cells(policy):
        if takes != NEVER:
            rows.setdefault(cell[:3], {}).setdefault(takes, []).append(cell.field_class)
    for where, by_need in rows.items():
        parts = [f"{word}: {', '.join(by_need[word])}" for word in (FREE, EITHER, CONSENT, BASIS) if word in by_need]
        yield f"{' '.join(where)} | {' | '.join(parts)}"


def changed(folder: Path, old: str, new: str) -> Policy:
    text = FILE.read_text("utf-8")
    assert old in text
    path = folder / "disclosure.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return load_policy(path)


def test_the_shipped_matrix_is_the_one_that_was_agreed() -> None:
    """Whoever changes who may see what sees here what that opens, and writes the new file by hand or with `lines`."""
    agreed = GOLDEN.read_text("utf-8").splitlines()
    now = list(lines(load_policy(FILE)))
    assert now == agreed, "\n".join(difflib.unified_diff(agreed, now, "agreed", "now", lineterm="", n=0))


def test_each_grant_taken_out_changes_the_golden_file() -> None:
    """No grant is there for nothing, and none could go or come unseen."""
    policy = load_policy(FILE)
    for grant in policy.grants:
        fewer = Policy("t", tuple(each for each in policy.grants if each != grant), policy.denies)
        found = changes(policy, fewer)
        assert found, grant.id
        assert not any(each.opens for each in found)


def test_a_change_names_its_cells_and_whether_they_open(tmp_path: Path) -> None:
    wider = changed(
        tmp_path,
        "roles: [POLICE, HOSPITAL]\n    purposes: [RESCUE]",
        "roles: [POLICE, HOSPITAL, GRID]\n    purposes: [RESCUE]",
    )
    found = changes(load_policy(FILE), wider)
    assert Change(Cell("GRID", "RESCUE", "PARTY", "LOCATION"), NEVER, BASIS) in found
    assert {each.cell[:3] for each in found} == {("GRID", "RESCUE", "PARTY")}
    assert all(each.opens for each in found)
    assert changes(wider, wider) == []


@pytest.mark.parametrize(
    ("before", "after", "opens"),
    [
        (NEVER, FREE, True),
        (EITHER, FREE, True),
        (CONSENT, EITHER, True),
        (CONSENT, BASIS, True),
        (FREE, CONSENT, False),
        (BASIS, NEVER, False),
    ],
)
def test_what_counts_as_opening(before: str, after: str, opens: bool) -> None:
    change = Change(Cell("POLICE", "RESCUE", "PARTY", "LOCATION"), before, after)
    assert change.opens is opens


def test_counselling_notes_are_shut_everywhere() -> None:
    assert {takes for cell, takes in cells(load_policy(FILE)) if cell.field_class == "COUNSELLING_NOTE"} == {NEVER}
