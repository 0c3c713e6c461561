"""Printed forms read back: every word is there, the fonts are inside and cut, and no character is a silent box."""

import ctypes
import hashlib
import logging
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pypdfium2
import pypdfium2.raw
import pytest
import zxingcpp
from fontTools.subset import Subsetter
from fontTools.ttLib import TTFont

from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.disclosure.policy import load_policy
from xinqiao.documents.fill import fill
from xinqiao.documents.fonts import Fonts, fonts
from xinqiao.documents.press import print_form
from xinqiao.documents.template import load_catalogue
from xinqiao.documents.wrap import wrap

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = load_catalogue(ROOT / "config/documents", load_policy(ROOT / "config/policy/disclosure.yaml"))
KINDS = [kind for kind in pb.DocumentKind.values() if kind]
NOW = 1_791_853_200_000_000
CODE = "XQ1" + "A7" * 66 + "B"


def content(**student):
    made = pb.DocumentContent(
        issuer_title="昆山市第一示范中学", recipient_title="昆山示范精神卫生中心", day="2026-10-12"
    )
    made.student.family_name, made.student.given_name = student.get("family", "欧阳"), student.get("given", "明")
    made.student.grade, made.student.class_title, made.student.birth_date = "八年级", "3班", "2011-05-04"
    made.notice.number, made.notice.guardian, made.notice.short_form = "2026-7K3Q-9D2M-0XZ4", "欧阳敏", CODE
    made.notice.observed_behaviour = "近三周上课时伏案哭泣，说过“活着没意思”；右前臂有新的划痕（10月9日）。"
    made.notice.advice, made.notice.issue_time_us, made.notice.expire_time_us = "请尽快就诊。", NOW, NOW
    made.notice.hospitals.extend(["昆山示范精神卫生中心", "昆山市第一人民医院"])
    made.referral.name, made.referral.urgency, made.referral.tier = "referrals/0123abcd", 3, 4
    made.referral.reason, made.referral.crisis_facts, made.referral.create_time_us = (
        "情绪低落三周。",
        "说过活着没意思。",
        NOW,
    )
    made.referral.outcome.fitness, made.referral.outcome.next_visit = 2, "2026-10-26"
    made.referral.outcome.school_advice = "安排半天课程两周。"
    made.consent.purpose, made.consent.last_day = 2, "2027-10-11"
    made.consent.classes.extend([2, 3, 5])
    return made


def printed(kind=pb.DOCUMENT_KIND_NOTICE, language="zh", made=None):
    return print_form(CATALOGUE, kind, made, language, [], NOW) if made else example(kind, language)


@cache
def example(kind, language):
    return print_form(CATALOGUE, kind, content(), language, [], NOW)


def pages(pdf):
    document = pypdfium2.PdfDocument(pdf)
    try:
        return [page.get_textpage().get_text_range() for page in document]
    finally:
        document.close()


def squeezed(text):
    """Without white space, and without the number and page at the foot: what is left was put in by somebody."""
    return re.sub(r"\s+|[\ufffe\u0002]", "", text)


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_text_read_back_is_the_text_put_in(kind, language):
    filled = fill(CATALOGUE.templates[kind], content(), language, [])
    put_in = list(filled.texts())
    days = sum(len(block.signatures) for block in filled.blocks)
    found = pages(printed(kind, language).pdf)
    foot = f"第1页共{len(found)}页" if language == "zh" else f"Page1of{len(found)}"
    read = Counter(squeezed("".join(found)))
    expected = Counter(squeezed("".join(put_in)))
    expected.update("日期" * days if language == "zh" else "Date" * days)
    assert len(found) == 1
    expected.update(foot + squeezed(filled.number))
    assert read == expected
    for text in put_in:
        for word in text.split("\n"):
            assert squeezed(word) in squeezed("".join(found))


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(
    ("student", "printed_name"),
    [({"family": "欧阳", "given": "明"}, "欧阳明"), ({"family": "Smith", "given": "Ann"}, "Smith Ann")],
)
def test_only_a_name_in_latin_letters_has_a_space_whatever_the_language_of_the_form(student, printed_name, language):
    filled = fill(CATALOGUE.templates[pb.DOCUMENT_KIND_NOTICE], content(**student), language, [])
    assert printed_name in list(filled.texts())


@pytest.mark.parametrize(("class_title", "printed_class"), [("3班", "八年级 3班"), ("八年级3班", "八年级3班")])
def test_a_grade_that_the_title_of_the_class_says_again_is_printed_once(class_title, printed_class):
    made = content()
    made.student.class_title = class_title
    filled = fill(CATALOGUE.templates[pb.DOCUMENT_KIND_NOTICE], made, "zh", [])
    assert printed_class in list(filled.texts())


@pytest.mark.parametrize("kind", KINDS)
def test_every_font_is_embedded_and_a_subset(kind):
    pdf = printed(kind).pdf
    document = pypdfium2.PdfDocument(pdf)
    names = set()
    for found in document[0].get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_TEXT]):
        font = pypdfium2.raw.FPDFTextObj_GetFont(found.raw)
        assert pypdfium2.raw.FPDFFont_GetIsEmbedded(font) == 1
        buffer = ctypes.create_string_buffer(pypdfium2.raw.FPDFFont_GetBaseFontName(font, None, 0))
        pypdfium2.raw.FPDFFont_GetBaseFontName(font, buffer, len(buffer))
        names.add(buffer.value.decode())
    document.close()
    assert any("NotoSansSC" in name for name in names)
    assert any("NotoSerifSC" in name for name in names)
    assert all(re.match(r"[A-Z]{6}\+", name) for name in names)
    assert len(pdf) < 150_000  # the whole fonts are 20 MB


@pytest.mark.parametrize("name", ["𠮷明", "买买提·吐尔逊", "㛃", "䶮", "喆", "王𫘜"])
def test_rare_characters_and_dotted_names_are_printed(name):
    form = printed(made=content(given=name))
    assert form.missing == ()
    assert name in squeezed(pages(form.pdf)[0])


@pytest.mark.parametrize(("name", "code"), [("ئابدۇللا", "U+0626"), ("𪚥", "U+2A6A5"), ("\U000f0000", "U+F0000")])
def test_a_character_that_no_font_has_is_reported_and_printed_as_its_number_not_as_a_box(name, code):
    form = printed(made=content(given=name))
    assert code in form.missing
    assert f"[{code}]" in squeezed(pages(form.pdf)[0])


def test_no_glyph_of_a_form_is_the_box_that_stands_for_a_missing_one():
    for kind in KINDS:
        for language in ("zh", "en"):
            assert (
                fonts().split(fill(CATALOGUE.templates[kind], content(given="𠮷"), language, []).texts())[1]
                == frozenset()
            )


def test_odd_spaces_are_printed_as_spaces():
    form = printed(made=content(given="明\t强\u2003丽\u00a0华\u3000芳"))
    assert form.missing == ()
    assert re.search("明\\s*强\\s*丽\\s*华\\s*芳", pages(form.pdf)[0])
    assert not {"\t", "\u2003"} & set(pages(form.pdf)[0])


def test_not_even_a_library_that_meets_a_missing_character_writes_it_into_a_log(caplog, monkeypatch):
    monkeypatch.setattr(Fonts, "split", lambda self, texts: (frozenset(), frozenset()))
    with caplog.at_level(logging.DEBUG):
        printed(made=content(given="𠮷𪚥"))
    logged = "".join(record.getMessage() for record in caplog.records)
    assert not {"𠮷", "𪚥", "欧"} & set(logged)
    assert "2a6a5" not in logged.lower()


def test_a_districts_own_font_is_asked_before_a_character_is_given_up(tmp_path):
    more = tmp_path / "fonts"
    more.mkdir()
    with TTFont(fonts().sans, lazy=True) as font:
        small = Subsetter()  # to write 65,000 glyphs takes seconds
        small.populate(unicodes=[ord("明"), max(font.getBestCmap())])  # a rare one keeps the table of rare ones
        small.subset(font)
        glyph = font.getBestCmap()[ord("明")]
        for table in font["cmap"].tables:
            if table.format == 12:
                table.cmap[0xF0000] = glyph
        font.save(more / "own.otf")
    faces = fonts((more / "own.otf",))
    assert faces.split(["\U000f0000"]) == (frozenset("\U000f0000"), frozenset())


def test_a_long_text_runs_over_pages_and_loses_nothing():
    made = content()
    made.notice.observed_behaviour = "".join(f"第{n}天，学生上课时伏案哭泣。" for n in range(1, 301))
    form = printed(made=made)
    found = pages(form.pdf)
    assert len(found) > 1
    assert all(f"第{n}页共{len(found)}页" in squeezed(text) for n, text in enumerate(found, 1))
    body = squeezed(re.sub(r"2026-7K3Q-9D2M-0XZ4\s*第 \d+ 页 共 \d+ 页", "", "\n".join(found)))
    assert all(f"第{n}天，学生上课时伏案哭泣。" in body for n in range(1, 301))


def test_the_same_form_at_the_same_time_is_the_same_file():
    assert printed().pdf == printed(made=content()).pdf


def test_the_code_on_paper_is_the_code():
    for scale in (2, 4):  # 144 and 288 dots an inch: a poor scanner and a usual one
        image = pypdfium2.PdfDocument(printed().pdf)[0].render(scale=scale).to_pil()
        assert [found.text for found in zxingcpp.read_barcodes(image)] == [CODE]


def test_a_form_of_a_page_is_drawn_on_paper_not_only_in_text():
    image = pypdfium2.PdfDocument(printed().pdf)[0].render(scale=1).to_pil().convert("L")
    dark = sum(1 for value in image.tobytes() if value < 128) / (image.width * image.height)
    assert 0.01 < dark < 0.2


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("一二三四，五", ["一二三", "四，五"]),
        ("一二三（四）", ["一二三", "（四）"]),
        ("一二PHQ-9三", ["一二", "PHQ-9", "三"]),
        ("ab cd ef", ["ab", "cd", "ef"]),
        ("", [""]),
        ("一\n\n二", ["一", "", "二"]),
        ("一二三四五六七", ["一二三", "四五六", "七"]),
    ],
)
def test_no_closing_mark_begins_a_line_and_no_opening_one_ends_it(text, lines):
    width = {**dict.fromkeys("abcdef ", 1.0)}
    assert wrap(text, 3.0, lambda part: sum(width.get(c, 0.5 if c.isascii() else 1.0) for c in part)) == lines


def test_wrapping_loses_no_character_however_narrow_the_line():
    text = "（《“一二三”》）。，、；：abc-defghij 12:30！"
    for width in range(1, 30):
        lines = wrap(text, float(width), lambda part: float(len(part)))
        assert squeezed("".join(lines)) == squeezed(text)
        assert all(len(line) <= width for line in lines)


def test_the_hash_is_of_the_text_not_of_the_file():
    one, two = (
        printed(pb.DOCUMENT_KIND_CONSENT),
        print_form(CATALOGUE, pb.DOCUMENT_KIND_CONSENT, content(), "zh", [], NOW + 10**9),
    )
    assert one.text_sha256 == two.text_sha256
    assert hashlib.sha256(one.pdf).digest() != hashlib.sha256(two.pdf).digest()
