"""Published rules of the single instruments: skips, voids, recodes, means, sums without norms, what stays incomplete."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinqiao.contract.errors import Refusal
from xinqiao.screening.batch import score_batch
from xinqiao.screening.instruments import NOT_ANSWERED, Instrument, load_instruments
from xinqiao.screening.scoring import score

LIBRARY = load_instruments(Path(__file__).parents[2] / "config" / "instruments")
Form = list[int | None]


def _with(items: int, given: dict[int, int | None], rest: int = 0) -> Form:
    """A form of ``items`` answers ``rest``, but for the item numbers given."""
    return [given.get(item, rest) for item in range(1, items + 1)]


@pytest.mark.parametrize(
    ("answers", "category", "critical"),
    [
        ([0, 0, None, None, None, 0, None], "none", ()),
        ([1, 0, None, None, None, 0, None], "low", ()),
        ([0, 1, 0, 0, 0, 0, None], "low", ()),
        ([1, 1, 1, 0, 0, 0, None], "moderate", ("method_or_past_act",)),
        ([0, 0, None, None, None, 1, 0], "moderate", ("method_or_past_act",)),
        ([1, 1, 0, 1, 0, 0, None], "high", ("intent_plan_or_recent_act",)),
        ([1, 1, 0, 0, 1, 0, None], "high", ("intent_plan_or_recent_act",)),
        ([0, 0, None, None, None, 1, 1], "high", ("intent_plan_or_recent_act", "method_or_past_act")),
    ],
)
def test_cssrs_gives_a_risk_by_item_and_never_a_sum(answers: Form, category: str, critical: tuple[str, ...]) -> None:
    result = score(LIBRARY["C-SSRS"], answers)
    assert (result.scores, result.category, result.critical, result.complete) == ({}, category, critical, True)


@pytest.mark.parametrize(
    "answers",
    [
        [0, 0, None, None, None, None, None],
        [1, 1, 0, 0, 0, None, None],
        [0, 0, None, None, None, 1, None],
        [0, 1, None, None, None, 0, None],
        [None, 0, None, None, None, 0, None],
    ],
    ids=["6", "6 after a full list", "6b after a yes", "3-5 after a yes", "1"],
)
def test_cssrs_without_a_needed_answer_is_incomplete(answers: Form) -> None:
    result = score(LIBRARY["C-SSRS"], answers)
    assert (result.category, result.complete) == (None, False)


def test_cssrs_broken_off_after_a_plan_still_raises_the_alarm() -> None:
    result = score(LIBRARY["C-SSRS"], [1, 1, 1, 1, 1, None, None])
    assert (result.category, result.critical) == (None, ("intent_plan_or_recent_act", "method_or_past_act"))


def test_cssrs_answers_given_although_they_could_be_skipped_are_not_thrown_away() -> None:
    result = score(LIBRARY["C-SSRS"], [0, 0, 0, 1, 0, 0, None])
    assert (result.category, result.complete) == ("high", True)


@pytest.mark.parametrize(
    ("answers", "category", "critical"),
    [
        ([0, 0, 0, 0, None], "negative", ()),
        ([0, 0, 0, 1, 0], "non_acute_positive", ("any_yes",)),
        ([2, 0, 0, 0, 0], "non_acute_positive", ("any_yes",)),
        ([0, 1, 0, 0, 1], "acute_positive", ("acute", "any_yes")),
        ([0, 1, 0, 0, 2], "acute_positive", ("acute", "any_yes")),
        ([0, 1, 0, 0, None], None, ("any_yes",)),
        ([0, 0, 0, None, None], None, ()),
    ],
)
def test_asq_takes_any_yes_or_refusal_as_positive_and_asks_acuity_then(
    answers: Form, category: str | None, critical: tuple[str, ...]
) -> None:
    result = score(LIBRARY["ASQ"], answers)
    assert (result.category, result.critical, result.scores) == (category, critical, {})
    assert result.complete == (category is not None)


def test_phqa_totals_nine_items_with_or_without_the_four_that_may_be_left_out() -> None:
    nine: Form = [1, 1, 1, 1, 1, 1, 1, 1, 0]
    short = score(LIBRARY["PHQ-A"], nine)
    long = score(LIBRARY["PHQ-A"], [*nine, 1, 3, 0, 0])
    assert (short.scores, short.category, short.complete) == ({"total": 8}, "mild", True)
    assert (long.scores, long.critical) == ({"total": 8}, ())


@pytest.mark.parametrize(("item", "rule"), [(9, "item9"), (12, "thoughts_past_month"), (13, "attempt_ever")])
def test_phqa_asks_for_an_interview_on_item_9_and_on_both_suicide_questions(item: int, rule: str) -> None:
    assert score(LIBRARY["PHQ-A"], _with(13, {item: 1, 2: None})).critical == (rule,)


def test_phqa_refuses_more_than_yes_on_a_yes_or_no_question() -> None:
    with pytest.raises(Refusal) as caught:
        score(LIBRARY["PHQ-A"], _with(13, {12: 2}))
    assert (caught.value.reason, caught.value.metadata["item"]) == ("ANSWER_RANGE", "12")
    rows = np.array([_with(13, {12: 2})], np.uint8)
    assert score_batch(LIBRARY["PHQ-A"], rows).bad_item.tolist() == [12]


def _mht(validity: int, content: int) -> Form:
    """Yes to so many validity items and to so many content items from item 1 on."""
    form: Form = [0] * 100
    for item in range(82, 82 + 2 * validity, 2):
        form[item - 1] = 1
    for item in [*range(1, 81), *range(81, 100, 2)][:content]:
        form[item - 1] = 1
    return form


def test_mht_with_seven_validity_answers_is_void_and_has_no_other_score() -> None:
    void = score(LIBRARY["MHT"], _mht(7, 0))
    assert (void.category, void.complete, void.scores["validity"]) == ("void", True, 7)
    assert {value for name, value in void.scores.items() if name != "validity"} == {None}


def test_mht_with_six_validity_answers_counts() -> None:
    valid = score(LIBRARY["MHT"], _mht(6, 7))
    assert (valid.category, valid.scores["total"], valid.scores["learning_anxiety"]) == ("usual", 7, 7)


@pytest.mark.parametrize(
    ("content", "category"), [(7, "usual"), (8, "special_guidance"), (65, "high_anxiety"), (90, "high_anxiety")]
)
def test_mht_needs_special_guidance_from_eight_on_one_scale(content: int, category: str) -> None:
    assert score(LIBRARY["MHT"], _mht(0, content)).category == category


def test_mht_with_one_unanswered_item_has_no_score_at_all() -> None:
    form = _mht(9, 20)
    form[99] = None
    result = score(LIBRARY["MHT"], form)
    assert (set(result.scores.values()), result.category, result.complete) == ({None}, None, False)


def test_the_item_maps_of_mht_and_scl90_use_every_item_once() -> None:
    mht = [item for spec in LIBRARY["MHT"].scores for item in spec.items]
    scl = [item for spec in LIBRARY["SCL-90"].scores[4:] for item in spec.items]
    assert sorted(mht) == list(range(1, 101)) and sorted(scl) == list(range(1, 91))


def test_scl90_gives_factor_means_in_hundredths_and_counts_positive_items() -> None:
    form = _with(90, {11: 3, 24: 2, 63: 2, 67: 1, 74: 4, 81: 1}, rest=1)
    result = score(LIBRARY["SCL-90"], form, coding="1-5")
    assert result.scores["hostility"] == 217  # 13 / 6 = 2.1667
    assert result.scores["positive_items"] == 4
    assert result.scores["positive_mean"] == 275
    assert (result.scores["total"], result.scores["total_mean"]) == (97, 108)
    assert result.category == "positive"


def test_scl90_without_a_positive_item_has_no_mean_of_positive_items() -> None:
    result = score(LIBRARY["SCL-90"], [1] * 90, coding="1-5")
    assert (result.scores["positive_mean"], result.scores["positive_items"], result.category) == (None, 0, "negative")


@pytest.mark.parametrize(("count", "category"), [(43, "negative"), (44, "positive")])
def test_scl90_is_positive_from_44_positive_items_on(count: int, category: str) -> None:
    # Twos only, and one item of each factor left at 1, so that neither the total nor a factor mean decides.
    spread = [item for spec in LIBRARY["SCL-90"].scores[4:] for item in spec.items[1:]]
    result = score(LIBRARY["SCL-90"], _with(90, dict.fromkeys(spread[:count], 2), rest=1), coding="1-5")
    assert (result.scores["positive_items"], result.category) == (count, category)


@pytest.mark.parametrize(("count", "mean", "category"), [(6, 186, "negative"), (7, 200, "positive")])
def test_scl90_is_positive_on_one_factor_mean_of_two(count: int, mean: int, category: str) -> None:
    phobic = [13, 25, 47, 50, 70, 75, 82]
    result = score(LIBRARY["SCL-90"], _with(90, dict.fromkeys(phobic[:count], 2), rest=1), coding="1-5")
    assert (result.scores["phobic"], result.category) == (mean, category)


@pytest.mark.parametrize(("total", "category"), [(160, "negative"), (161, "positive")])
def test_scl90_is_positive_above_160_and_not_at_160(total: int, category: str) -> None:
    # Four points a positive item on spread items, so that neither their number nor a factor mean decides.
    form: Form = [1] * 90
    extra = total - 90
    for item in (1, 4, 3, 9, 6, 21, 5, 14, 2, 17, 11, 13, 8, 7, 16, 19, 44, 60, 64, 66, 89):
        step = min(4, extra)
        form[item - 1] = 1 + step
        extra -= step
    result = score(LIBRARY["SCL-90"], form, coding="1-5")
    assert result.scores["total"] == total
    assert max(result.scores[name] or 0 for name in LIBRARY["SCL-90"].category_from[2:]) < 200
    assert result.category == category


@pytest.mark.parametrize("item", [15, 59])
def test_scl90_critical_items_fire_on_an_incomplete_form_in_either_coding(item: int) -> None:
    first = score(LIBRARY["SCL-90"], _with(90, {item: 2, 1: None}, rest=1), coding="1-5")
    other = score(LIBRARY["SCL-90"], _with(90, {item: 1, 1: None}, rest=0), coding="0-4")
    assert first.critical == other.critical == (f"item{item}",)
    assert first.category is None


@pytest.mark.parametrize(
    ("answers", "impact", "category"),
    [
        ([0, None, None, None, None, None], 0, "close_to_average"),
        ([1, 0, 1, 0, 1, 0], 0, "close_to_average"),
        ([2, 2, 1, 0, 0, 0], 1, "slightly_raised"),
        ([3, 3, 0, 1, 0, 0], 2, "high"),
        ([3, 3, 3, 3, 3, 3], 10, "very_high"),
        ([3, 3, None, 3, 3, 3], None, None),
    ],
)
def test_sdq_impact_recodes_and_is_nought_without_difficulties(
    answers: Form, impact: int | None, category: str | None
) -> None:
    result = score(LIBRARY["SDQ-IMPACT"], answers)
    assert (result.scores, result.category) == ({"impact": impact}, category)


def test_an_impact_item_coded_8_for_not_asked_is_refused_instead_of_counted() -> None:
    with pytest.raises(Refusal, match="ANSWER_RANGE"):
        score(LIBRARY["SDQ-IMPACT"], [0, 8, 8, 8, 8, 8])


def test_rcads_gives_raw_sums_and_no_category() -> None:
    depression = {1, 4, 8, 10, 13, 15, 16, 19, 21, 24}
    result = score(LIBRARY["RCADS-25"], [3 if item in depression else 1 for item in range(1, 26)])
    assert result.scores == {"depression": 30, "anxiety": 15, "total": 45}
    assert (result.category, result.complete) == (None, True)


@pytest.mark.parametrize(
    ("instrument", "answers", "total", "category"),
    [
        ("K6", [2, 2, 2, 2, 2, 2], 12, "below_cutoff"),
        ("K6", [3, 2, 2, 2, 2, 2], 13, "serious_distress"),
        ("ISI", [1] * 7, 7, "none"),
        ("ISI", [2, 1, 1, 1, 1, 1, 1], 8, "subthreshold"),
        ("ISI", [3, 2, 2, 2, 2, 2, 2], 15, "moderate"),
        ("ISI", [4, 3, 3, 3, 3, 3, 3], 22, "severe"),
        ("CES-DC", _with(20, {1: 1}), 13, "below_cutoff"),
        ("CES-DC", _with(20, {1: 3}), 15, "at_risk"),
        ("K10", [3, 3, 3, 3, 3, 3, 3, 3, 3, 3], 30, "very_high"),
    ],
)
def test_a_total_falls_into_its_published_band(instrument: str, answers: Form, total: int, category: str) -> None:
    result = score(LIBRARY[instrument], answers)
    assert (result.scores["total"], result.category) == (total, category)


EVERYTHING = Instrument.model_validate_json(
    """{
      "id": "EVERYTHING", "version": 1, "names": {"zh": "全部", "en": "everything"}, "items": 14,
      "scale": {"min": 1, "max": 4}, "item_scales": [{"items": [13, 14], "max": 2}],
      "informants": ["self"], "ages": {"min": 6},
      "skip": [{"items": ["1-2"], "below": 2, "unanswered": [3, 4]}, {"items": [3], "below": 2, "unanswered": [5]}],
      "optional": [6, 14], "reverse": [2, 7], "recode": [{"items": ["3-5"], "to": [0, 0, 1, 9]}],
      "missing": {"rule": "prorate", "max_missing": 1},
      "scores": [
        {"id": "sum", "items": ["1-5"]}, {"id": "mean", "method": "mean", "items": ["6-9"], "multiplier": 100},
        {"id": "lie", "items": ["10-12"]}, {"id": "fake", "items": [13, 12, 11]},
        {"id": "both", "of": ["sum", "lie"], "multiplier": 2}],
      "validity": [
        {"score": "lie", "at_least": 10, "category": "lied", "label": {"zh": "作废", "en": "void"}},
        {"score": "fake", "at_least": 8, "category": "faked", "label": {"zh": "作废", "en": "void"}}],
      "categories": [{"id": "low", "label": {"zh": "低", "en": "low"}}, {"id": "mid", "label": {"zh": "中", "en": "mid"}},
                     {"id": "high", "label": {"zh": "高", "en": "high"}}],
      "bands": [{"score": "mean", "norm": "n", "ranges": [{"min": 100, "max": 250, "category": "low"},
                                                         {"min": 251, "max": 400, "category": "mid"}]}],
      "category_from": ["mean"],
      "category_rules": [{"category": "high", "items": [1, 14], "at_least": 2}],
      "critical": [{"id": "one", "items": [5, 12], "at_least": 3, "severity": "crisis", "label": {"zh": "甲", "en": "a"}},
                   {"id": "two", "items": [1], "at_least": 4, "severity": "concern", "label": {"zh": "乙", "en": "b"}}],
      "source": "made up", "licence": {"status": "free", "text": "made up"}, "enabled": false}"""
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_both_scorers_agree_on_an_instrument_that_uses_every_word(data: st.DataObject) -> None:
    cell = st.one_of(st.integers(1, 4), st.integers(1, 2), st.none())
    form = data.draw(st.lists(cell, min_size=14, max_size=14))
    batch = score_batch(EVERYTHING, np.array([[NOT_ANSWERED if value is None else value for value in form]], np.uint8))
    try:
        single = score(EVERYTHING, form)
    except Refusal as refusal:
        assert batch.verdict[0] == 1 and refusal.metadata["item"] == str(batch.bad_item[0])
        return
    assert {name: int(total[0]) for name, total in batch.totals.items()} == {
        name: -1 if value is None else value for name, value in single.scores.items()
    }
    index = int(batch.category[0])
    assert (EVERYTHING.category_ids[index] if index >= 0 else None) == single.category
    assert [rule.id for rule, hit in zip(EVERYTHING.critical, batch.critical[0], strict=True) if hit] == list(
        single.critical
    )
    assert (bool(batch.complete[0]), int(batch.answered[0])) == (single.complete, single.answered)


def test_only_a_crisis_item_raises_a_crisis_flag() -> None:
    assert [EVERYTHING.critical[index].id for index in EVERYTHING.plan.crisis] == ["one"]
    assert LIBRARY["PHQ-9"].plan.crisis == [0]
