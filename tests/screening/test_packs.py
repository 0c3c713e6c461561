"""A district's own scheme is data: its words, its colours, its tiers; it can be stricter than its base, never laxer."""

from pathlib import Path

import pytest

from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.screening.instruments import load_instruments
from xinqiao.screening.scoring import score
from xinqiao.screening.triage import Tier, TriageError, load_triage, propose

CONFIG = Path(__file__).resolve().parents[2] / "config"
LIBRARY = load_instruments(CONFIG / "instruments")
DEFAULT = load_triage(CONFIG / "triage" / "default.yaml", LIBRARY)
THREE = load_triage(CONFIG / "triage" / "three-colours.yaml", LIBRARY)
TEXT = (CONFIG / "triage" / "three-colours.yaml").read_text("utf-8")


def derived(folder, text):
    (folder / "default.yaml").write_text((CONFIG / "triage" / "default.yaml").read_text("utf-8"), "utf-8")
    (folder / "own.yaml").write_text(text, "utf-8")
    return load_triage(folder / "own.yaml", LIBRARY)


def every_total(pack):
    form = LIBRARY["PHQ-9"]
    return [
        propose(pack, form, score(form, [3] * full + [rest] + [0] * (8 - full))).tier
        for full in range(8)
        for rest in range(3)
    ]


def test_three_colours_know_no_yellow_and_are_never_laxer_than_the_pack_they_stand_on():
    four, three = every_total(DEFAULT), every_total(THREE)
    assert Tier.YELLOW in four and Tier.YELLOW not in three
    assert all(now >= then for then, now in zip(four, three, strict=True))


def test_the_proposal_of_a_derived_pack_names_that_pack():
    form = LIBRARY["PHQ-9"]
    found = propose(THREE, form, score(form, [2] * 6 + [0] * 3))
    assert (found.pack, found.version, found.rule, found.tier) == ("three-colours", 1, "phq9-moderate", Tier.ORANGE)


def test_a_new_instrument_of_the_base_reaches_every_pack_that_stands_on_it():
    assert THREE.ordered.keys() == DEFAULT.ordered.keys()


def test_a_district_has_its_own_words_for_the_tiers():
    assert THREE.words(Tier.RED) == ("红色·应急", "Red (emergency)")
    assert THREE.words(Tier.YELLOW) == ("yellow", "yellow")  # a tier it does not use, from before


def test_a_district_may_call_its_levels_first_and_second(tmp_path):
    text = TEXT.replace("红色·应急", "一级").replace("Red (emergency)", "Level 1")
    assert derived(tmp_path, text).words(Tier.RED) == ("一级", "Level 1")


def test_triages_carry_the_districts_word_for_the_tier_that_stands(make_town):
    pack = {"triage": str(CONFIG / "triage" / "three-colours.yaml")}
    with make_town(listen=False, change=lambda settings: settings.update(pack)) as town:
        made = town.submit(town.student(), bytes([2] * 6 + [0] * 3)).triage
        (open_one,) = town.call(town.PSYCH, scr.ListTriagesRequest()).triages
        assert (open_one.proposed, open_one.level_zh) == (Tier.ORANGE, "橙色·重点支持")
        confirmed = town.call(town.PSYCH, scr.ConfirmTierRequest(name=made.name, tier=Tier.GREEN, note="n")).triage
        assert (confirmed.level_zh, confirmed.level_en) == ("绿色·普遍预防", "Green (prevention)")


def test_a_pack_may_add_rules_of_its_own(tmp_path):
    more = TEXT + (
        "rules:\n  - id: phq9-six\n    instrument: PHQ-9\n    when: {score: total, at_least: 6}\n    tier: ORANGE\n"
        "    reason: {zh: 六分及以上, en: six or more}\n"
    )
    form = LIBRARY["PHQ-9"]
    found = propose(derived(tmp_path, more), form, score(form, [1] * 6 + [0] * 3))
    assert (found.rule, found.tier) == ("phq9-six", Tier.ORANGE)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("raised: {YELLOW: ORANGE}", "raised: {YELLOW: GREEN}", "may only be raised"),
        ("raised: {YELLOW: ORANGE}", "raised: {RED: ORANGE}", "may only be raised"),
        ("raised: {YELLOW: ORANGE}", "raised: {YELLOW: YELLOW}", "may only be raised"),
        ("raised: {YELLOW: ORANGE}", "", "tier YELLOW is not in tiers"),
        ("tiers: {GREEN: 1, ORANGE: 3, RED: 4}", "tiers: {GREEN: 1, ORANGE: 3}", "RED must be among them"),
        ("tiers: {GREEN: 1, ORANGE: 3, RED: 4}", "tiers: {GREEN: 1, ORANGE: 3, RED: 3}", "RED is 4"),
        ("  GREEN: {names", "  YELLOW: {names", "one for each of tiers"),
        ('"#c62828"', '"red"', "colour"),
        ("base: default.yaml", "base: absent.yaml", "absent.yaml"),
        ("base: default.yaml", "base: own.yaml", "stands on another"),
    ],
)
def test_a_scheme_that_would_be_laxer_or_does_not_fit_is_refused(tmp_path, old, new, why):
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(TriageError, match=why):
        derived(tmp_path, text)
