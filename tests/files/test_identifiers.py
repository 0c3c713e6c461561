"""Chinese identifiers: the forms and check digits, with the published examples."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.adapters.files.identifiers import (
    check_credit_code,
    check_id_agrees,
    check_resident_id,
    check_student_number,
    normalise,
)

VALID = "11010519491231002X"


@pytest.mark.parametrize("number", [VALID, "440524188001010014"])
def test_the_published_resident_ids_are_valid(number: str) -> None:
    assert check_resident_id(number) is None


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("110105194912310021", "DATA/ID_CHECKSUM"),
        ("11010519491331002X", "DATA/ID_CHECKSUM"),
        ("110105491231002", "DATA/ID_LENGTH"),
        (" 11010519491231002X", "DATA/ID_LENGTH"),
        ("11010519491231002x", "DATA/ID_FORMAT"),
        ("１1010519491231002X", "DATA/ID_FORMAT"),
        ("1.10105E+17", "DATA/ID_PRECISION"),
        ("110105194912310020.0", "DATA/ID_PRECISION"),
        ("110105194912310000", "DATA/ID_PRECISION"),
        ("", "DATA/ID_LENGTH"),
    ],
)
def test_a_wrong_resident_id_gets_its_reason(number: str, reason: str) -> None:
    assert check_resident_id(number) == reason


def test_an_impossible_birth_date_is_refused_even_with_the_right_check_digit() -> None:
    reasons = {check_resident_id(f"11010520000230001{check}") for check in "0123456789X"}
    assert reasons == {"DATA/ID_CHECKSUM", "DATA/ID_FORMAT"}


def test_a_number_ending_in_zeros_is_believed_only_when_no_spreadsheet_touched_it() -> None:
    assert check_resident_id("320501201001011000") == "DATA/ID_PRECISION"
    assert check_resident_id("320501201001011000", exact=True) is None


@given(st.integers(0, 16), st.integers(1, 9))
def test_any_single_wrong_digit_is_found(position: int, change: int) -> None:
    wrong = (int(VALID[position]) + change) % 10
    assert check_resident_id(f"{VALID[:position]}{wrong}{VALID[position + 1 :]}") is not None


def test_the_birth_date_and_sex_in_the_number_must_agree_with_the_columns() -> None:
    assert check_id_agrees(VALID, date(1949, 12, 31), "2") is None
    assert check_id_agrees(VALID, date(1949, 12, 30)) == "DATA/ID_CONFLICT"
    assert check_id_agrees(VALID, sex="1") == "DATA/ID_CONFLICT"


@pytest.mark.parametrize("number", [f"G{VALID}", f"J{VALID}", "L320501201001011234", "G320501201001011000"])
def test_the_three_forms_of_student_number_are_valid(number: str) -> None:
    assert check_student_number(number) is None


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (VALID, "DATA/STUDENT_NUMBER_FORMAT"),
        ("G123", "DATA/STUDENT_NUMBER_LENGTH"),
        ("G110105194912310021", "DATA/ID_CHECKSUM"),
        ("J110105194912310021", "DATA/ID_CHECKSUM"),
        ("L320501201013011234", "DATA/STUDENT_NUMBER_FORMAT"),
        ("L32050120100101123X", "DATA/STUDENT_NUMBER_FORMAT"),
        ("", "DATA/STUDENT_NUMBER_FORMAT"),
    ],
)
def test_a_wrong_student_number_gets_its_reason(number: str, reason: str) -> None:
    assert check_student_number(number) == reason


@pytest.mark.parametrize("code", ["91350100M000100Y43", "91110000802100433B"])
def test_the_published_credit_codes_are_valid(code: str) -> None:
    assert check_credit_code(code) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("91350100M000100Y44", "DATA/CREDIT_CODE_CHECKSUM"),
        ("91350100M000100I43", "DATA/CREDIT_CODE_FORMAT"),
        ("91350100m000100Y43", "DATA/CREDIT_CODE_FORMAT"),
        ("", "DATA/CREDIT_CODE_FORMAT"),
    ],
)
def test_a_wrong_credit_code_gets_its_reason(code: str, reason: str) -> None:
    assert check_credit_code(code) == reason


def test_normalising_raises_only_the_letters_of_the_forms() -> None:
    assert normalise("g11010519491231002x") == "G11010519491231002X"
    assert normalise(" １ａ") == " １ａ"


@given(st.text(max_size=24))
def test_no_text_makes_a_check_fail_otherwise(text: str) -> None:
    for check in (check_resident_id, check_student_number, check_credit_code):
        assert check(text) is None or str(check(text)).startswith("DATA/")
