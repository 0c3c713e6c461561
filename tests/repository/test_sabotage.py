"""The list of `make sabotage` keeps up with the code: each control's text stands in its file, and its tests exist."""

import pytest
from tests.sabotage.controls import ROOT, Control, controls

CONTROLS = controls()


@pytest.mark.parametrize("control", CONTROLS, ids=[each.id for each in CONTROLS])
def test_a_control_stands_where_the_list_says(control: Control) -> None:
    spoilt = control.removed((ROOT / control.file).read_text("utf-8"))
    compile(spoilt, control.file, "exec")
    assert control.guarantee
    assert all((ROOT / name).exists() for name in control.tests)


def test_every_control_is_listed_once() -> None:
    assert len({each.id for each in CONTROLS}) == len(CONTROLS)
