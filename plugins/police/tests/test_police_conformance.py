from pathlib import Path

import pytest

from xinqiao.testing.conformance import Subject, rules, run_case
from xinqiao.testing.suite import conformance
from xinqiao_police.simulator import Centre110

test_conformance = conformance("police")


def in_cap(folder: Path) -> Centre110:
    return Centre110(folder, wire="cap")


@pytest.mark.parametrize("case", rules().cases)
def test_conformance_in_cap(case: str) -> None:
    outcome = run_case(Subject("police", partner=in_cap), case)
    assert outcome.result in ("passed", "not_applicable"), outcome.text
