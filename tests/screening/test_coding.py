"""SCL-90 comes in two codings: the coding is declared, and answers that do not fit it are refused, never guessed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinqiao.contract.errors import Refusal
from xinqiao.screening.batch import score_batch
from xinqiao.screening.instruments import NOT_ANSWERED, load_instruments
from xinqiao.screening.scoring import score

LIBRARY = load_instruments(Path(__file__).parents[2] / "config" / "instruments")
SCL90 = LIBRARY["SCL-90"]


def _reason(answers: Sequence[int | None], coding: str) -> str:
    with pytest.raises(Refusal) as caught:
        score(SCL90, answers, coding=coding)
    return caught.value.reason


@pytest.mark.parametrize("coding", ["", "1-4", "0-5"])
def test_an_undeclared_or_unknown_coding_is_refused(coding: str) -> None:
    reason = "CODING_UNKNOWN" if coding else "CODING_REQUIRED"
    assert _reason([1] * 90, coding) == reason
    with pytest.raises(Refusal) as caught:
        score_batch(SCL90, np.ones((3, 90), np.uint8), coding=coding)
    assert caught.value.reason == reason and "1-5, 0-4" in caught.value.message


def test_a_nought_on_a_form_declared_1_5_is_a_mismatch() -> None:
    assert _reason([1] * 89 + [0], "1-5") == "CODING_MISMATCH"


def test_a_five_on_a_form_declared_0_4_is_a_mismatch() -> None:
    assert _reason([0] * 89 + [5], "0-4") == "CODING_MISMATCH"


@pytest.mark.parametrize(("value", "coding"), [(6, "1-5"), (6, "0-4"), (-1, "0-4"), (250, "1-5")])
def test_an_answer_of_no_coding_is_out_of_range_and_its_value_is_not_told(value: int, coding: str) -> None:
    with pytest.raises(Refusal) as caught:
        score(SCL90, [1, value, *[1] * 88], coding=coding)
    assert (caught.value.reason, caught.value.metadata["item"]) == ("ANSWER_RANGE", "2")
    assert str(value) not in caught.value.message.replace("item 2", "").replace(coding, "")


@settings(max_examples=40, deadline=None)
@given(form=st.lists(st.one_of(st.integers(0, 4), st.none()), min_size=90, max_size=90))
def test_the_same_form_scores_the_same_in_either_coding(form: list[int | None]) -> None:
    shifted = [None if value is None else value + 1 for value in form]
    assert score(SCL90, form, coding="0-4") == score(SCL90, shifted, coding="1-5")


def test_one_telling_answer_refuses_the_whole_batch_and_names_its_place() -> None:
    rows = np.full((4, 90), 2, np.uint8)
    rows[2, 6] = 0
    with pytest.raises(Refusal) as caught:
        score_batch(SCL90, rows, coding="1-5")
    assert caught.value.reason == "CODING_MISMATCH"
    assert (caught.value.metadata["row"], caught.value.metadata["item"]) == ("3", "7")


def test_a_sheet_declared_0_4_in_which_nobody_ever_answered_nought_is_not_believed() -> None:
    rows = np.random.default_rng(4).choice(np.array([1, 1, 1, 2, 3], np.uint8), (10, 90))
    with pytest.raises(Refusal) as caught:
        score_batch(SCL90, rows, coding="0-4")
    assert caught.value.reason == "CODING_MISMATCH"
    assert score_batch(SCL90, rows, coding="1-5").verdict.tolist() == [0] * 10
    assert score_batch(SCL90, rows[:9], coding="0-4").verdict.tolist() == [0] * 9  # nine severe forms can be true


def test_an_answer_of_no_coding_costs_its_own_row_only() -> None:
    rows = np.array([[1] * 90, [9] + [1] * 89, [NOT_ANSWERED] * 90], np.uint8)
    batch = score_batch(SCL90, rows, coding="1-5")
    assert batch.verdict.tolist() == [0, 1, 0]
    assert batch.bad_item.tolist() == [0, 1, 0]
    assert batch.totals["total"].tolist() == [90, -1, -1]


def test_an_instrument_with_one_coding_takes_its_own_name_and_no_other() -> None:
    phq9 = LIBRARY["PHQ-9"]
    assert score(phq9, [1] * 9, coding="0-3") == score(phq9, [1] * 9)
    with pytest.raises(Refusal, match="CODING_UNKNOWN"):
        score(phq9, [1] * 9, coding="1-4")
