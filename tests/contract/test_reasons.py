"""Every reason that the kit or a shipped plugin gives has words in both languages."""

import re
from pathlib import Path

import pytest

from xinqiao.cli.texts import Texts
from xinqiao.cli.words import explained
from xinqiao.contract.reasons import words

ROOT = Path(__file__).resolve().parents[2]
REASON = re.compile(r"""["']((?:DATA|PARTNER)/[A-Z0-9_]+)["']""")
HL7 = re.compile(r"""Refused\(\s*"A[ER]",\s*"([A-Z0-9_]+)\"""")


def given() -> set[str]:
    sources = (*ROOT.glob("core/xinqiao/**/*.py"), *ROOT.glob("plugins/*/xinqiao_*/**/*.py"))
    kept = [path for path in sources if path.name not in ("reasons.py", "simulator.py") and "testing" not in path.parts]
    texts = [path.read_text("utf-8") for path in kept]
    return {reason for text in texts for reason in REASON.findall(text)} | {
        f"DATA/{reason}" for text in texts for reason in HL7.findall(text)
    }


def test_every_reason_in_the_code_has_words() -> None:
    reasons = given()
    assert len(reasons) > 100
    assert sorted(reason for reason in reasons if words(reason) is None) == []


def test_no_words_are_for_a_reason_that_nobody_gives() -> None:
    from xinqiao.contract import reasons

    assert sorted(reasons._WORDS.keys() - given()) == []  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("reason", sorted(given()))
def test_the_words_are_in_both_languages_and_short(reason: str) -> None:
    found = words(reason)
    assert found is not None
    assert re.search("[\u4e00-\u9fff]", found.zh)
    assert not re.search("[\u4e00-\u9fff]", re.sub("（.*）|[(].*[)]", "", found.en))
    assert len(found.zh) <= 32
    assert len(found.en) <= 80


def test_a_reason_is_found_where_it_stands_in_a_line() -> None:
    line = "visits.csv, row 12, column met: DATA/YES_NO (3)"
    assert explained(Texts("zh"), line) == "应填“是”或“否”"
    assert explained(Texts("en"), line) == "must be yes or no"
    assert explained(Texts("zh"), "visits.csv, row 12: ODD") == ""
