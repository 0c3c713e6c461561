"""Scoring: published worked examples, missing answers, refusals, real item-level data, and batch against single."""

import csv
import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xinqiao.contract.errors import Refusal
from xinqiao.screening.batch import ACCEPTED, BAD_RANGE, score_batch
from xinqiao.screening.instruments import NOT_ANSWERED, Instrument, load_instruments
from xinqiao.screening.plan import item_highs
from xinqiao.screening.scoring import score

ROOT = Path(__file__).parents[2]
LIBRARY = load_instruments(ROOT / "config" / "instruments")
DATA = ROOT.parent / "shared" / "data"
CASES = DATA / "scoring_cases.csv"
Form = list[int | None]


def _case_rows() -> list[dict[str, str]]:
    if not CASES.exists():
        return []
    with CASES.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["instrument"] in LIBRARY]


def _real_rows(relative: str) -> list[dict[str, str]]:
    path = DATA / relative
    if not path.exists():
        pytest.skip(f"{relative} is not here")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [row for row in csv.DictReader(file) if any(row.values())]


def _form(row: dict[str, str], prefix: str, count: int) -> Form:
    return [int(cell) if (cell := row[f"{prefix}{number}"]).isdigit() else None for number in range(1, count + 1)]


def _answers(text: str) -> Form:
    if text.startswith("multiset"):
        return [1, 1, 1, 2, 2, 3, 3, 3, 0]
    return [int(cell) if cell else None for cell in text.split(";")]


def _bytes(forms: list[Form]) -> NDArray[np.uint8]:
    return np.array([[NOT_ANSWERED if value is None else value for value in form] for form in forms], np.uint8)


@pytest.mark.parametrize("row", _case_rows(), ids=[row["case_id"] for row in _case_rows()])
def test_a_shared_scoring_case_gives_its_expected_result(row: dict[str, str]) -> None:
    result = score(LIBRARY[row["instrument"]], _answers(row["answers"]))
    expected = json.loads(row["expect_scores_json"])
    assert {name: result.scores[name] for name in expected} == expected
    assert (result.category or "incomplete") == row["expect_category"]
    if row["expect_critical"] != "unknown":
        assert bool(result.critical) == (row["expect_critical"] == "true")


def test_no_shared_scoring_case_is_left_out() -> None:
    if not CASES.exists():
        pytest.skip("scoring_cases.csv is not here")
    with CASES.open(encoding="utf-8", newline="") as file:
        assert len(_case_rows()) == len(list(csv.DictReader(file)))


@pytest.mark.parametrize(
    ("instrument", "answers", "total", "category", "critical"),
    [
        ("PHQ-9", [2, 1, 1, 1, 2, 1, 1, 0, 0], 9, "mild", ()),
        ("PHQ-9", [2, 2, 3, 3, 3, 2, 1, 2, 1], 19, "moderately_severe", ("item9",)),
        ("PHQ-9", [1, 2, 0, 1, 0, 1, 0, 0, 2], 7, "mild", ("item9",)),
        ("PHQ-9", [1, 3, 2, 2, 3, 3, 1, 2, 3], 20, "severe", ("item9",)),
        ("PHQ-9", [2, 2, 2, 2, 1, 1, 2, 0, 0], 12, "moderate", ()),
        ("PHQ-9", [1, 1, 1, 2, 2, 3, 3, 3, 0], 16, "moderately_severe", ()),
        ("GAD-7", [1, 1, 1, 3, 2, 2, 1], 11, "moderate", ()),
        ("GAD-7", [3, 2, 2, 1, 3, 2, 2], 15, "severe", ()),
        ("GAD-7", [1, 1, 3, 2, 0, 1, 0], 8, "mild", ()),
    ],
)
def test_a_published_worked_example_is_reproduced(
    instrument: str, answers: Form, total: int, category: str, critical: tuple[str, ...]
) -> None:
    result = score(LIBRARY[instrument], answers)
    assert (result.scores, result.category, result.critical) == ({"total": total}, category, critical)
    assert result.complete and result.answered == len(answers)


def test_item_9_fires_on_an_incomplete_form_that_gets_no_total() -> None:
    result = score(LIBRARY["PHQ-9"], [0, None, 0, 0, 0, 0, 0, 0, 1])
    assert (result.scores["total"], result.category, result.critical) == (None, None, ("item9",))
    assert not result.complete and result.answered == 8


def test_an_unanswered_item_9_is_not_read_as_a_positive_one() -> None:
    form: Form = [0] * 8 + [None]
    assert score(LIBRARY["PHQ-9"], form).critical == ()
    assert not score_batch(LIBRARY["PHQ-9"], _bytes([form])).critical.any()


def test_an_empty_form_gets_no_score_from_any_instrument() -> None:
    for instrument in LIBRARY.values():
        result = score(instrument, [None] * instrument.items, coding=_coding(instrument))
        assert (
            not any(value is not None for value in result.scores.values())
            and result.category is None
            and result.answered == 0
        )


def test_k10_prorates_one_missing_answer_and_refuses_two() -> None:
    one: Form = [2, 2, 2, 2, 2, 2, 2, 2, 3, None]
    assert score(LIBRARY["K10"], one).scores["total"] == 21
    assert score(LIBRARY["K10"], [None, *one[1:]]).scores["total"] is None


def test_ces_d_reverses_before_it_prorates_and_stops_after_four_missing() -> None:
    form: Form = [0] * 20
    form[0] = None
    assert score(LIBRARY["CES-D"], form).scores["total"] == 13  # 12 x 20 / 19 = 12.63
    assert score(LIBRARY["CES-D"], [None] * 4 + [0] * 16).scores["total"] == 11  # 9 x 20 / 16 = 11.25
    assert score(LIBRARY["CES-D"], [None] * 5 + [0] * 15).scores["total"] is None


def test_a_prorated_half_rounds_up() -> None:
    form: Form = [0] * 25
    form[2], form[7], form[12] = 1, 1, None  # emotional: 2 on 4 answers, 2.5
    assert score(LIBRARY["SDQ"], form).scores["emotional"] == 3


def test_an_sdq_total_needs_its_four_scales_but_not_the_prosocial_one() -> None:
    lost: Form = [1] * 25
    lost[2] = lost[7] = lost[12] = None
    without_prosocial: Form = [1] * 25
    without_prosocial[0] = without_prosocial[3] = without_prosocial[8] = None
    first, second = score(LIBRARY["SDQ"], lost), score(LIBRARY["SDQ"], without_prosocial)
    assert (first.scores["emotional"], first.scores["conduct"], first.scores["total"]) == (None, 5, None)
    assert (second.scores["prosocial"], second.scores["total"]) == (None, 20)


def test_psc17_counts_three_blanks_as_zero_and_voids_four() -> None:
    assert score(LIBRARY["PSC-17"], [None] * 3 + [1] * 14).scores["total"] == 14
    assert set(score(LIBRARY["PSC-17"], [None] * 4 + [1] * 13).scores.values()) == {None}


def test_psc17_is_positive_on_one_scale_alone() -> None:
    form: Form = [0] * 17
    form[1] = form[5] = 2
    form[8] = 1
    result = score(LIBRARY["PSC-17"], form)
    assert (result.scores["internalizing"], result.scores["total"], result.category) == (5, 5, "positive")


def test_the_teacher_form_has_its_own_norm() -> None:
    form: Form = [1] * 25
    form[2] = form[7] = form[12] = form[15] = 0
    assert score(LIBRARY["SDQ"], form).category == "slightly_raised"
    assert score(LIBRARY["SDQ-TEACHER"], form).category == "high"


@pytest.mark.parametrize("count", [0, 8, 10])
def test_another_number_of_answers_than_items_is_refused(count: int) -> None:
    with pytest.raises(Refusal) as single:
        score(LIBRARY["PHQ-9"], [0] * count)
    with pytest.raises(Refusal) as batch:
        score_batch(LIBRARY["PHQ-9"], np.zeros((3, count), np.uint8))
    assert {single.value.reason, batch.value.reason} == {"ANSWER_COUNT"}
    assert single.value.status == batch.value.status == "INVALID_ARGUMENT"


@pytest.mark.parametrize("value", [77, -77, 254])
def test_an_answer_outside_the_scale_is_refused_by_item_number_and_never_by_value(value: int) -> None:
    form: Form = [0, None, 0, value, 0, 0, value, 0, 0]
    with pytest.raises(Refusal) as caught:
        score(LIBRARY["PHQ-9"], form)
    said = f"{caught.value} {caught.value.violations} {caught.value.metadata}"
    assert (caught.value.status, caught.value.reason) == ("INVALID_ARGUMENT", "ANSWER_RANGE")
    assert "item 4 of PHQ-9" in said and str(abs(value)) not in said


def test_the_0_to_4_coding_of_k10_is_refused_not_scored() -> None:
    with pytest.raises(Refusal, match="item 1 of K10 is outside 1 to 5"):
        score(LIBRARY["K10"], [0] * 10)


def test_a_bad_row_of_a_batch_is_named_and_leaves_the_others_alone() -> None:
    rows = np.array([[1] * 9, [1] * 8 + [4], [0] * 9], np.uint8)
    batch = score_batch(LIBRARY["PHQ-9"], rows)
    assert batch.verdict.tolist() == [ACCEPTED, BAD_RANGE, ACCEPTED]
    assert batch.bad_item.tolist() == [0, 9, 0]
    assert batch.totals["total"].tolist() == [9, -1, 0]
    assert batch.category.tolist() == [1, -1, 0]
    assert batch.critical[:, 0].tolist() == [True, False, False]
    assert batch.complete.tolist() == [True, False, True]


def test_an_empty_batch_gives_empty_results() -> None:
    batch = score_batch(LIBRARY["GAD-7"], np.zeros((0, 7), np.uint8))
    assert batch.totals["total"].shape == (0,) and batch.critical.shape == (0, 0)


def test_a_batch_of_another_type_than_bytes_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="uint8"):
        score_batch(LIBRARY["PHQ-9"], cast("NDArray[np.uint8]", np.zeros((1, 9), np.int64)))


def _assert_row_equals_single(instrument: Instrument, forms: list[Form]) -> None:
    coding = _coding(instrument)
    batch = score_batch(instrument, _bytes(forms), coding=coding)
    for row, form in enumerate(forms):
        try:
            single = score(instrument, form, coding=coding)
        except Refusal as refusal:
            assert batch.verdict[row] == BAD_RANGE and refusal.metadata["item"] == str(batch.bad_item[row])
            assert all(total[row] == -1 for total in batch.totals.values()) and batch.category[row] == -1
            assert not batch.critical[row].any() and not batch.complete[row] and batch.answered[row] == 0
            continue
        assert batch.verdict[row] == ACCEPTED and batch.bad_item[row] == 0
        assert {name: int(total[row]) for name, total in batch.totals.items()} == {
            name: -1 if value is None else value for name, value in single.scores.items()
        }
        index = int(batch.category[row])
        assert (None if index < 0 else instrument.category_ids[index]) == single.category
        fired = [rule.id for rule, hit in zip(instrument.critical, batch.critical[row], strict=True) if hit]
        assert (tuple(fired), bool(batch.complete[row])) == (single.critical, single.complete)
        assert batch.answered[row] == single.answered


def _coding(instrument: Instrument) -> str:
    return instrument.codings[0].id if instrument.codings else ""


def _forms(instrument: Instrument) -> st.SearchStrategy[list[Form]]:
    """Whole forms, forms with gaps, and forms with wild answers; each from one draw of bytes, which is quick."""
    highs = item_highs(instrument)
    kind = st.sampled_from([(256, 256), (200, 256), (200, 240)])
    drawn = st.tuples(st.binary(min_size=instrument.items, max_size=instrument.items), kind)

    def form(pair: tuple[bytes, tuple[int, int]]) -> Form:
        data, (gaps_from, wild_from) = pair
        # An answer of another coding refuses a batch as a whole, so the noise of SCL-90 lies above both.
        return [
            byte if byte >= wild_from and byte != NOT_ANSWERED
            else None if byte >= gaps_from
            else instrument.scale.min + byte % (high - instrument.scale.min + 1)
            for byte, high in zip(data, highs, strict=True)
        ]  # fmt: skip

    return st.lists(drawn.map(form), min_size=1, max_size=8)


@pytest.mark.parametrize("name", list(LIBRARY))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_batch_scores_every_row_like_a_single_form(name: str, data: st.DataObject) -> None:
    instrument = LIBRARY[name]
    _assert_row_equals_single(instrument, data.draw(_forms(instrument)))


@pytest.mark.parametrize("name", list(LIBRARY))
def test_a_batch_longer_than_one_chunk_scores_its_last_rows_right(name: str) -> None:
    instrument = LIBRARY[name]
    random = np.random.default_rng(9)
    highs = np.array(item_highs(instrument)) + 1
    rows = random.integers(instrument.scale.min, highs, (40_001, instrument.items)).astype(np.uint8)
    rows[random.random(rows.shape) < 0.05] = NOT_ANSWERED
    coding = _coding(instrument)
    batch = score_batch(instrument, rows, coding=coding)
    for row in (0, 16_383, 16_384, 32_767, 32_768, 40_000):
        form = [None if value == NOT_ANSWERED else int(value) for value in rows[row]]
        single = score(instrument, form, coding=coding)
        assert [int(total[row]) for total in batch.totals.values()] == [
            -1 if value is None else value for value in single.scores.values()
        ]


def test_ukm_students_have_65_item_9_positives_and_15_of_them_below_10() -> None:
    rows = _real_rows("items-ukm-undergraduates/Psychological_aspects.csv")
    results = [score(LIBRARY["PHQ-9"], _form(row, "D", 9)) for row in rows]
    flagged = [result.scores["total"] for result in results if result.critical]
    assert (len(results), len(flagged)) == (223, 65)
    assert sum(total is not None and total < 10 for total in flagged) == 15
    assert sum((result.scores["total"] or 0) >= 10 for result in results) == 80


@pytest.mark.parametrize(("name", "prefix", "column"), [("PHQ-9", "phq", "phq_score"), ("GAD-7", "gad", "gad_score")])
def test_mexican_students_get_their_published_totals(name: str, prefix: str, column: str) -> None:
    rows = _real_rows("items-mx-medstudents/depression_anxiety_survey_data.csv")
    instrument = LIBRARY[name]
    totals = [score(instrument, _form(row, prefix, instrument.items)).scores["total"] for row in rows]
    assert totals == [int(row[column]) if row[column] != "NA" else None for row in rows]
    batch = score_batch(instrument, _bytes([_form(row, prefix, instrument.items) for row in rows]))
    assert batch.totals["total"].tolist() == [-1 if total is None else total for total in totals]


def test_mexican_students_get_their_published_suicidal_flag() -> None:
    rows = _real_rows("items-mx-medstudents/depression_anxiety_survey_data.csv")
    published = {row["id"]: row["suicidal"] for row in _real_rows("items-mx-medstudents/depression_anxiety_data.csv")}
    flags = {row["id"]: bool(score(LIBRARY["PHQ-9"], _form(row, "phq", 9)).critical) for row in rows}
    assert len(flags) >= 200
    assert {key: str(flag).upper() for key, flag in flags.items()} == {key: published[key] for key in flags}
