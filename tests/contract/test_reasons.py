"""Every reason that the kit or a shipped plugin gives has words in both languages."""

import re
from pathlib import Path

import pytest

from xinqiao.cli.texts import Texts
from xinqiao.cli.words import explained, step_word
from xinqiao.contract.reasons import words
from xinqiao.exchange.arrivals import AWAITED, MISSING

ROOT = Path(__file__).resolve().parents[2]
REASON = re.compile(r"""["']((?:DATA|PARTNER)/[A-Z0-9_]+)["']""")
EXCHANGE = re.compile(
    r"""["'](RECEIPT_[A-Z]+|[A-Z]+_(?:UNKNOWN|DIFFERS|DESCRIBED|OF_ANOTHER)|MISSING|DIFFERS|OTHER)["']"""
)
STEP = re.compile(r"""\bstep=["']([a-z_-]+)["']""")
HL7 = re.compile(r"""Refused\(\s*"A[ER]",\s*"([A-Z0-9_]+)\"""")


def given() -> set[str]:
    sources = (*ROOT.glob("core/xinqiao/**/*.py"), *ROOT.glob("plugins/*/xinqiao_*/**/*.py"))
    kept = [path for path in sources if path.name not in ("reasons.py", "simulator.py") and "testing" not in path.parts]
    texts = [path.read_text("utf-8") for path in kept]
    books = [path.read_text("utf-8") for path in (ROOT / "core/xinqiao/exchange").glob("*.py")]
    return (
        {reason for text in texts for reason in REASON.findall(text)}
        | {f"DATA/{reason}" for text in texts for reason in HL7.findall(text)}
        | {reason for text in books for reason in EXCHANGE.findall(text)}
    )


def test_every_reason_in_the_code_has_words() -> None:
    reasons = given()
    assert len(reasons) > 100
    assert sorted(reason for reason in reasons if words(reason) is None) == []


def test_no_words_are_for_a_reason_that_nobody_gives() -> None:
    from xinqiao.contract import reasons

    assert sorted(reasons._WORDS.keys() - given() - {"UNKNOWN_STUDENT"}) == []  # that one is a partner's  # pyright: ignore[reportPrivateUsage]


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


def steps() -> list[str]:
    """What a holding may have to do: as the code says it, by an exchange's reasons, and by the states of its runs."""
    sources = [path for path in ROOT.glob("core/xinqiao/**/*.py") if not {"cli", "testing"} & {*path.parts}]
    said = {step for path in sources for step in STEP.findall(path.read_text("utf-8"))}
    books = {reason.lower() for reason in given() if "/" not in reason}
    return sorted(
        said | books | {f"refused_{reason}" for reason in books} | {AWAITED, MISSING, "await_receipt", "sending"}
    )


@pytest.mark.parametrize("step", steps())
def test_every_step_has_words_in_both_languages(step: str) -> None:
    zh, en = (step_word(Texts(language), step) for language in ("zh", "en"))
    assert re.search("[\u4e00-\u9fff]", zh)
    assert not re.search("[\u4e00-\u9fff]", en)
    assert "_" not in en
