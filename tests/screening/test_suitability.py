"""Age, grade and informant: a warning when they do not fit, a refusal where the instrument's file says so."""

from pathlib import Path

import pytest

from xinqiao.contract.errors import Refusal
from xinqiao.screening.instruments import load_instruments
from xinqiao.screening.suitability import check_suited

LIBRARY = load_instruments(Path(__file__).parents[2] / "config" / "instruments")


@pytest.mark.parametrize("grade", [1, 4, 6])
def test_scl90_is_not_for_primary_pupils(grade: int) -> None:
    with pytest.raises(Refusal) as caught:
        check_suited(LIBRARY["SCL-90"], grade=grade)
    assert (caught.value.status, caught.value.reason) == ("FAILED_PRECONDITION", "NOT_SUITED")
    assert caught.value.metadata == {"fact": "grades", "allowed": "7-12"}


def test_scl90_below_16_in_secondary_school_is_a_warning() -> None:
    (warning,) = check_suited(LIBRARY["SCL-90"], grade=9, age=14)
    assert (warning.fact, warning.allowed, warning.refused) == ("ages", "16+", False)


@pytest.mark.parametrize(("grade", "warned"), [(3, True), (4, False), (12, False)])
def test_mht_is_for_grade_4_and_above(grade: int, warned: bool) -> None:
    assert bool(check_suited(LIBRARY["MHT"], grade=grade)) == warned


@pytest.mark.parametrize(("age", "warned"), [(10, True), (11, False), (17, False), (18, True)])
def test_the_self_form_of_sdq_warns_outside_11_to_17(age: int, warned: bool) -> None:
    assert bool(check_suited(LIBRARY["SDQ"], age=age)) == warned


def test_another_informant_than_the_form_is_for_is_a_warning() -> None:
    (warning,) = check_suited(LIBRARY["PSC-17"], informant="self")
    assert (warning.fact, warning.allowed) == ("informants", "parent")


def test_what_the_caller_does_not_know_is_not_held_against_anyone() -> None:
    assert all(check_suited(each) == () for each in LIBRARY.values())
