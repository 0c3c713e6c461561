"""Triage packs: the shipped thresholds, the promises checked at loading, and batch against single."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinqiao.contract.errors import Refusal
from xinqiao.screening.batch import propose_batch, score_batch
from xinqiao.screening.datafile import Label, parse, read_yaml
from xinqiao.screening.instruments import NOT_ANSWERED, Instrument, InstrumentLibrary, load_instruments
from xinqiao.screening.plan import item_highs
from xinqiao.screening.scoring import score
from xinqiao.screening.triage import PackFile, Rule, Tier, TierName, TriageError, When, build_pack, load_triage, propose

CONFIG = Path(__file__).parents[2] / "config"
LIBRARY = load_instruments(CONFIG / "instruments")
DEFAULT = CONFIG / "triage" / "default.yaml"
PACK = load_triage(DEFAULT, LIBRARY)
FILE = parse(DEFAULT, read_yaml(DEFAULT, TriageError), PackFile, TriageError)
PHQ9 = LIBRARY["PHQ-9"]
Form = list[int | None]
Edit = tuple[str, str]
TIERS: tuple[TierName, ...] = ("GREEN", "YELLOW", "ORANGE", "RED")


def _spread(total: int, items: int) -> Form:
    """A form of ``items`` answers 0 to 3 with this total, filled from item 1."""
    return [min(3, max(0, total - 3 * item)) for item in range(items)]


def _forms(instrument: Instrument) -> st.SearchStrategy[Form]:
    """Whole forms and forms with gaps, each from one draw of bytes, which is quick."""
    highs = item_highs(instrument)
    drawn = st.tuples(st.binary(min_size=instrument.items, max_size=instrument.items), st.sampled_from([256, 215]))

    def form(pair: tuple[bytes, int]) -> Form:
        data, gaps_from = pair
        low = instrument.scale.min
        return [
            None if byte >= gaps_from else low + byte % (high - low + 1) for byte, high in zip(data, highs, strict=True)
        ]

    return drawn.map(form)


def _coding(instrument: Instrument) -> str:
    return instrument.codings[0].id if instrument.codings else ""


def _load_edited(tmp_path: Path, edit: Edit) -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    edited = text.replace(*edit)
    assert edited != text, "the edit of the test must change the file"
    path = tmp_path / "pack.yaml"
    path.write_text(edited, encoding="utf-8")
    load_triage(path, LIBRARY)


def _without(prefix: str) -> Edit:
    """An edit which cuts out every rule whose id starts with ``prefix`` (they stand together in the file)."""
    found = re.search(rf"(?:  - id: {prefix}.*\n(?:    .*\n)+)+", DEFAULT.read_text(encoding="utf-8"))
    assert found is not None
    return found.group(), ""


def _without_line(name: str) -> Edit:
    """As ``_without`` for one rule written on two lines."""
    found = re.search(rf"  - \{{id: {name},.*\n.*\n", DEFAULT.read_text(encoding="utf-8"))
    assert found is not None
    return found.group(), ""


@pytest.mark.parametrize(
    ("instrument", "total", "tier", "rule"),
    [
        ("PHQ-9", 0, Tier.GREEN, "phq9-routine"),
        ("PHQ-9", 9, Tier.GREEN, "phq9-routine"),
        ("PHQ-9", 10, Tier.YELLOW, "phq9-moderate"),
        ("PHQ-9", 14, Tier.YELLOW, "phq9-moderate"),
        ("PHQ-9", 15, Tier.ORANGE, "phq9-moderately-severe"),
        ("PHQ-9", 19, Tier.ORANGE, "phq9-moderately-severe"),
        ("PHQ-9", 20, Tier.ORANGE, "phq9-severe"),
        ("GAD-7", 9, Tier.GREEN, "gad7-routine"),
        ("GAD-7", 10, Tier.YELLOW, "gad7-moderate"),
        ("GAD-7", 14, Tier.YELLOW, "gad7-moderate"),
        ("GAD-7", 15, Tier.ORANGE, "gad7-severe"),
        ("GAD-7", 21, Tier.ORANGE, "gad7-severe"),
    ],
)
def test_a_total_proposes_the_tier_of_its_band(instrument: str, total: int, tier: Tier, rule: str) -> None:
    definition = LIBRARY[instrument]
    proposal = propose(PACK, definition, score(definition, _spread(total, definition.items)))
    assert (proposal.tier, proposal.rule, proposal.inputs["total"]) == (tier, rule, total)
    assert not proposal.crisis


def test_a_proposal_explains_itself_in_both_languages() -> None:
    proposal = propose(PACK, PHQ9, score(PHQ9, [0, 0, 0, 0, 0, 0, 0, 0, 1]))
    assert (proposal.pack, proposal.version, proposal.rule) == ("default", 1, "phq9-critical")
    assert proposal.inputs == {"total": 1, "answered": 9, "critical.item9": 1}
    assert "危机" in proposal.reason_zh and "crisis" in proposal.reason_en


def test_an_incomplete_form_without_a_total_proposes_a_retest_and_never_green() -> None:
    proposal = propose(PACK, PHQ9, score(PHQ9, [0, 0, 0, None, 0, 0, 0, 0, 0]))
    assert (proposal.tier, proposal.rule, proposal.inputs) == (Tier.YELLOW, "phq9-retest", {"answered": 8})


@pytest.mark.parametrize(
    ("instrument", "answers", "tier", "rule"),
    [
        ("C-SSRS", [0, 0, None, None, None, 0, None], Tier.GREEN, "cssrs-routine"),
        ("C-SSRS", [1, 0, None, None, None, 0, None], Tier.YELLOW, "cssrs-low"),
        ("C-SSRS", [1, 1, 1, 0, 0, 0, None], Tier.ORANGE, "cssrs-moderate"),
        ("C-SSRS", [0, 0, None, None, None, 1, 0], Tier.ORANGE, "cssrs-moderate"),
        ("C-SSRS", [0, 0, None, None, None, 1, 1], Tier.RED, "cssrs-high"),
        ("C-SSRS", [1, 1, 0, 1, 0, None, None], Tier.RED, "cssrs-high"),
        ("C-SSRS", [1, 1, 1, 0, 0, None, None], Tier.ORANGE, "cssrs-moderate"),
        ("C-SSRS", [0, 0, None, None, None, None, None], Tier.ORANGE, "cssrs-ask-again"),
        ("ASQ", [0, 0, 0, 0, None], Tier.GREEN, "asq-routine"),
        ("ASQ", [0, 0, 0, 1, 0], Tier.RED, "asq-positive"),
        ("ASQ", [0, 2, 0, 0, 0], Tier.RED, "asq-positive"),
        ("ASQ", [0, 1, 0, 0, 1], Tier.RED, "asq-acute"),
        ("ASQ", [0, 1, 0, 0, 2], Tier.RED, "asq-acute"),
        ("ASQ", [0, 0, 0, None, None], Tier.ORANGE, "asq-ask-again"),
        ("PHQ-A", [0] * 9, Tier.GREEN, "phqa-routine"),
        ("PHQ-A", [0] * 12 + [1], Tier.RED, "phqa-critical"),
    ],
)
def test_answers_without_a_sum_propose_the_tier_of_their_risk(
    instrument: str, answers: Form, tier: Tier, rule: str
) -> None:
    definition = LIBRARY[instrument]
    proposal = propose(PACK, definition, score(definition, answers))
    assert (proposal.tier, proposal.rule) == (tier, rule)
    assert proposal.crisis == (tier == Tier.RED)


@settings(max_examples=100, deadline=None)
@given(form=_forms(LIBRARY["MHT"]), flips=st.integers(7, 10))
def test_a_void_mht_is_never_called_no_risk(form: Form, flips: int) -> None:
    mht = LIBRARY["MHT"]
    whole = [answer or 0 for answer in form]
    for item in range(82, 82 + 2 * flips, 2):
        whole[item - 1] = 1
    result = score(mht, whole)
    proposal = propose(PACK, mht, result)
    assert (result.category, result.scores["total"]) == ("void", None)
    assert (proposal.tier, proposal.rule) == (Tier.YELLOW, "mht-void")
    assert "重测" in proposal.reason_zh and "test again" in proposal.reason_en


def test_raw_sums_without_a_norm_are_never_green() -> None:
    rcads = LIBRARY["RCADS-25"]
    result = score(rcads, [0] * 25)
    assert (result.scores["total"], result.category, result.complete) == (0, None, True)
    assert propose(PACK, rcads, result).rule == "rcads25-read"


def test_a_form_scored_by_prorating_is_not_sent_to_retest() -> None:
    k10 = LIBRARY["K10"]
    assert propose(PACK, k10, score(k10, [1] * 9 + [None])).rule == "k10-routine"


@pytest.mark.parametrize("name", list(LIBRARY))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_without_a_category_no_instrument_proposes_green(name: str, data: st.DataObject) -> None:
    instrument = LIBRARY[name]
    result = score(instrument, data.draw(_forms(instrument)), coding=_coding(instrument))
    proposal = propose(PACK, instrument, result)
    judged = result.category is not None and result.category not in instrument.void_ids
    assert judged or proposal.tier >= Tier.YELLOW


@settings(max_examples=200, deadline=None)
@given(form=_forms(PHQ9), item9=st.integers(1, 3))
def test_a_critical_hit_is_never_below_red_whatever_the_total(form: Form, item9: int) -> None:
    proposal = propose(PACK, PHQ9, score(PHQ9, [*form[:8], item9]))
    assert proposal.tier == Tier.RED and proposal.crisis and proposal.inputs["critical.item9"] == 1


@pytest.mark.parametrize("name", list(LIBRARY))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_batch_proposes_for_every_row_what_a_single_form_gets(name: str, data: st.DataObject) -> None:
    instrument = LIBRARY[name]
    forms = data.draw(st.lists(_forms(instrument), min_size=1, max_size=10))
    rows = np.array([[NOT_ANSWERED if cell is None else cell for cell in form] for form in forms], np.uint8)
    coding = _coding(instrument)
    tiers, rules = propose_batch(PACK, instrument, score_batch(instrument, rows, coding=coding))
    singles = [propose(PACK, instrument, score(instrument, form, coding=coding)) for form in forms]
    assert tiers.tolist() == [one.tier for one in singles]
    assert [PACK.rules[int(index)].id for index in rules] == [one.rule for one in singles]


def test_a_row_out_of_range_gets_no_tier_and_no_rule() -> None:
    rows = np.array([[9] * 9, [3] * 9], np.uint8)
    tiers, rules = propose_batch(PACK, PHQ9, score_batch(PHQ9, rows))
    assert tiers.tolist() == [0, Tier.RED]
    assert rules[0] == -1 and PACK.rules[int(rules[1])].id == "phq9-critical"


@settings(max_examples=150, deadline=None)
@given(
    form=_forms(PHQ9),
    tier=st.sampled_from(TIERS),
    at_least=st.integers(0, 27),
    place=st.integers(0, len(FILE.rules)),
)
def test_adding_a_rule_never_lowers_a_tier(form: Form, tier: TierName, at_least: int, place: int) -> None:
    added = Rule(
        id="added",
        instrument="PHQ-9",
        when=When(score="total", at_least=at_least),
        tier=tier,
        reason=Label(zh="补充", en="added"),
    )
    rules = (*FILE.rules[:place], added, *FILE.rules[place:])
    wider = build_pack(FILE.model_copy(update={"rules": rules}), LIBRARY)
    result = score(PHQ9, form)
    assert propose(wider, PHQ9, result).tier >= propose(PACK, PHQ9, result).tier


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (_without("phq9-critical"), "critical rule item9 needs a RED rule with signal crisis"),
        (("    signal: crisis\n", ""), "needs a RED rule with signal crisis"),
        (("tier: RED", "tier: ORANGE"), "a crisis signal needs tier RED"),
        (_without("phq9-retest"), "an unscored form is never GREEN"),
        (_without("phq9-routine"), "some results meet no rule"),
        (_without("gad7-"), "no rule is for GAD-7, which is enabled"),
        (
            ("{no_score: total}\n    tier: YELLOW", "{no_score: total}\n    tier: GREEN"),
            "an unscored form is never GREEN",
        ),
        (_without_line("mht-void"), "a void form is never GREEN"),
        (("[void]}, tier: YELLOW", "[void]}, tier: GREEN"), "a void form is never GREEN"),
        (
            ("category: [negative]}, tier: GREEN", "category: [non_acute_positive]}, tier: GREEN"),
            "some results meet no",
        ),
        (
            ("ASQ, when: {no_category: true}, tier: ORANGE", "ASQ, when: {no_category: true}, tier: GREEN"),
            "never GREEN",
        ),
        (("RCADS-25, when: {no_score: total}", "RCADS-25, when: {no_category: true}"), "has no categories at all"),
        (("instrument: K10", "instrument: K11"), "no instrument file defines K11"),
        (("{score: total, at_least: 20}", "{score: sum, at_least: 20}"), "no score sum"),
        (("at_least: 20}", "at_least: 28}"), "no value of total (0 to 27) can meet it"),
        (("category: [at_risk]", "category: [risk]"), "CES-D has no category risk"),
        (("{critical: any}", "{critical: [item8]}"), "PHQ-9 has no such critical rule"),
        (("{critical: any}", "{critical: any, score: total}"), "give one of critical"),
        (("id: phq9-severe", "id: phq9-moderate"), "the id is given twice"),
        (("ORANGE: 3", "ORANGE: 2"), "ORANGE is 3 in the contract"),
        ((", RED: 4", ""), "RED must be among them"),
        ((", ORANGE: 3", ""), "tier ORANGE is not in tiers"),
        (("id: default", "id: default\nversion: 2"), "version is given twice"),
    ],
)
def test_a_pack_that_breaks_a_promise_is_refused_at_loading(tmp_path: Path, edit: Edit, problem: str) -> None:
    with pytest.raises(TriageError, match=re.escape(problem)) as caught:
        _load_edited(tmp_path, edit)
    assert caught.value.file == tmp_path / "pack.yaml"


def test_green_may_not_rest_on_a_score_whose_absence_nobody_watches(tmp_path: Path) -> None:
    rule = (
        "rules:\n  - id: who5-raw\n    instrument: WHO-5\n    when: {score: raw, at_least: 20}\n    tier: GREEN\n"
        "    reason: {zh: 原始分, en: raw}\n"
    )
    with pytest.raises(TriageError, match="GREEN may rest only on"):
        _load_edited(tmp_path, ("rules:\n", rule))


def test_an_instrument_without_rules_is_refused_instead_of_called_green() -> None:
    only_phq = InstrumentLibrary({"PHQ-9": PHQ9})
    rules = tuple(rule for rule in FILE.rules if rule.instrument == "PHQ-9")
    pack = build_pack(FILE.model_copy(update={"rules": rules}), only_phq)
    gad7 = LIBRARY["GAD-7"]
    with pytest.raises(Refusal) as single:
        propose(pack, gad7, score(gad7, [0] * 7))
    with pytest.raises(Refusal) as batch:
        propose_batch(pack, gad7, score_batch(gad7, np.zeros((1, 7), np.uint8)))
    assert single.value.reason == batch.value.reason == "NO_TRIAGE_RULES"
