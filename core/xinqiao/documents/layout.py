"""A filled form on A4: title, number, table, lines to sign on, QR code, page numbers; fonts embedded as subsets."""

import logging
from dataclasses import replace
from datetime import UTC
from itertools import groupby
from pathlib import Path

import segno
from fpdf import FPDF
from fpdf.enums import XPos, YPos

from xinqiao.contract.clock import from_us
from xinqiao.documents.fill import Block, Filled, Line
from xinqiao.documents.fonts import fonts
from xinqiao.documents.wrap import wrap

for _name in ("fpdf", "fontTools"):  # they would log the characters that they lack: a rare one is half a name
    logging.getLogger(_name).setLevel(logging.CRITICAL)
_INK, _GREY, _PALE = 26, 110, 244
_MARGIN, _FOOT = 20, 16
_PAGES = "{#pages}"  # replaced by their number at the end; nothing that a person writes
_LABEL_WIDTH = 40.0
_LINE = 5.9
_PAD = 1.0


def draw(filled: Filled, more_fonts: tuple[Path, ...], now_us: int) -> tuple[bytes, tuple[str, ...]]:
    """The PDF, and the characters that no font has, as ``U+20BB7``: they are printed so, in brackets, never as a box."""
    faces = fonts(more_fonts)
    rare, missing = faces.split(filled.texts())
    marks = {ord(character): f"[U+{ord(character):04X}]" for character in missing}
    # Tabs and the many widths of space have no glyph either; a plain space does for all but the Chinese one.
    marks |= {ord(c): " " for text in filled.texts() for c in text if c.isspace() and c not in "\n \u3000"}
    page = _Page(_marked(filled, marks))
    page.add_font("sans", fname=faces.sans)
    page.add_font("serif", fname=faces.serif)
    if rare:
        for index, path in enumerate(faces.fallback):
            page.add_font(f"rare{index}", fname=path)
        page.set_fallback_fonts([f"rare{index}" for index in range(len(faces.fallback))], exact_match=False)
    page.set_title(filled.title)
    page.set_creator("XinQiao")
    page.set_lang("zh-CN" if filled.language == "zh" else "en")
    page.set_creation_date(from_us(now_us).astimezone(UTC))
    page.body()
    return bytes(page.output()), tuple(sorted(f"U+{ord(character):04X}" for character in missing))


class _Page(FPDF):
    """The paper: what fpdf2 calls back for each page, and how each block is drawn."""

    def __init__(self, filled: Filled) -> None:
        super().__init__(format="A4")
        self._filled = filled
        self.set_margins(_MARGIN, 16, _MARGIN)
        self.set_auto_page_break(True, margin=_FOOT + 3)
        self.alias_nb_pages(_PAGES)

    def footer(self) -> None:
        """Number and page, on every page: a loose sheet must say what it belongs to."""
        self.set_y(-_FOOT)
        self.set_draw_color(200)
        self.line(_MARGIN, self.get_y(), self.w - _MARGIN, self.get_y())
        self.set_font("sans", size=8)
        self.set_text_color(_GREY)
        pages = (
            f"第 {self.page_no()} 页 共 {_PAGES} 页"
            if self._filled.language == "zh"
            else f"Page {self.page_no()} of {_PAGES}"
        )
        self.cell(self.epw / 2, 8, self._filled.number)
        self.set_x(self.w - _MARGIN - self.get_string_width(pages.replace(_PAGES, "0")) - 2 * self.c_margin)
        self.cell(0, 8, pages)
        self.set_text_color(_INK)

    def body(self) -> None:
        """Everything above the foot."""
        self.add_page()
        self.set_text_color(_INK)
        if self._filled.banner:
            self.set_font("sans", size=9)
            self.set_text_color(_GREY)
            self._paragraph(self._filled.banner, 5, align="C")
            self.set_text_color(_INK)
        self.set_font("sans", size=19)
        self._paragraph(self._filled.title, 11, align="C")
        if self._filled.number:
            self.set_font("sans", size=9.5)
            self._paragraph(self._filled.number, 6, align="C")
        self.ln(3)
        for block in self._filled.blocks:
            self._block(block)
        if self._filled.footer:
            self.ln(2)
            self.set_font("sans", size=8.5)
            self.set_text_color(_GREY)
            self._paragraph(self._filled.footer, 4.8)

    def _paragraph(self, text: str, height: float, align: str = "L") -> None:
        for line in self._wrapped(text, self.epw - 2 * self.c_margin):
            self._keep(height)
            self.cell(0, height, line, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _block(self, block: Block) -> None:
        if block.heading:
            self.set_font("sans", size=12)
            self._keep(8 + 2 * _LINE)
            self.ln(1.5)
            self._paragraph(block.heading, 8)
        if block.text:
            self.set_font("serif", size=11)
            self._paragraph(block.text, 6.6)
            self.ln(1.5)
        for line in block.lines:
            self._row(line)
        if block.lines:
            self.ln(2)
        if block.qr:
            self._qr(block.qr, block.qr_note)
        for label in block.signatures:
            self._signature(label)

    def _keep(self, height: float) -> None:
        """Start a new page rather than tear apart what belongs together."""
        if self.will_page_break(height):
            self.add_page()

    def _row(self, line: Line) -> None:
        width = self.epw - _LABEL_WIDTH
        self.set_font("sans", size=10)
        label = self._wrapped(line.label, _LABEL_WIDTH - 2 * (_PAD + self.c_margin))
        self.set_font("serif", size=10.5)
        value = self._wrapped(line.value, width - 2 * (_PAD + self.c_margin)) if line.value else [""]
        # A row taller than a page is cut into rows that fit, its label standing before the first.
        while True:
            room = max(1, int((self.page_break_trigger - self.get_y() - 2 * _PAD) // _LINE))
            need = max(len(label), len(value), line.blank_lines)
            if need > room and room < 3 and need <= 40:
                self.add_page()
                continue
            self._box(label, value[:room], width, min(need, room))
            value, label = value[room:], []
            if not value:
                return
            self.add_page()

    def _box(self, label: list[str], value: list[str], width: float, lines: int) -> None:
        top, height = self.get_y(), lines * _LINE + 2 * _PAD
        self.set_draw_color(150)
        self.set_fill_color(_PALE)
        self.rect(_MARGIN, top, _LABEL_WIDTH, height, style="DF")
        self.rect(_MARGIN + _LABEL_WIDTH, top, width, height)
        self.set_font("sans", size=10)
        self._lines(label, _MARGIN, top, _LABEL_WIDTH)
        self.set_font("serif", size=10.5)
        self._lines(value, _MARGIN + _LABEL_WIDTH, top, width)
        self.set_xy(_MARGIN, top + height)

    def _lines(self, lines: list[str], left: float, top: float, width: float) -> None:
        for index, text in enumerate(lines):
            self.set_xy(left + _PAD, top + _PAD + index * _LINE)
            self.cell(width - 2 * _PAD, _LINE, text)

    def _wrapped(self, text: str, width: float) -> list[str]:
        return wrap(text, width, self.get_string_width)

    def _signature(self, label: str) -> None:
        self._keep(12)
        self.ln(4)
        self.set_font("sans", size=10)
        width = self.get_string_width(label) + 4
        self.cell(width, 8, label)
        left, line = _MARGIN + width, self.get_y() + 7
        self.set_draw_color(90)
        day = "日期" if self._filled.language == "zh" else "Date"
        right = self.w - _MARGIN - 52
        self.line(left, line, right, line)
        self.set_x(right + 4)
        self.cell(14, 8, day)
        self.line(right + 18, line, self.w - _MARGIN, line)
        self.ln(8)

    def _qr(self, text: str, note: str) -> None:
        size = 34.0
        self._keep(size + 6)
        top = self.get_y() + 3
        modules = [list(row) for row in segno.make(text, error="m", micro=False).matrix]
        step = size / len(modules)
        self.set_fill_color(0)
        for y, row in enumerate(modules):
            x = 0
            for dark, run in groupby(row):
                wide = len(list(run))
                if dark:  # a hair taller than its row: viewers draw white seams between exact neighbours
                    self.rect(_MARGIN + x * step, top + y * step, wide * step, step * 1.03, style="F")
                x += wide
        self.set_font("sans", size=9)
        for index, line in enumerate(self._wrapped(note, self.epw - size - 12)):
            self.set_xy(_MARGIN + size + 6, top + 3 + index * 5)
            self.cell(0, 5, line)
        self.set_xy(_MARGIN, top + size + 4)


def _marked(filled: Filled, marks: dict[int, str]) -> Filled:
    def to(text: str) -> str:
        return text.translate(marks)

    blocks = tuple(
        replace(
            block,
            heading=to(block.heading),
            text=to(block.text),
            lines=tuple(replace(line, label=to(line.label), value=to(line.value)) for line in block.lines),
            signatures=tuple(to(label) for label in block.signatures),
            qr_note=to(block.qr_note),
        )
        for block in filled.blocks
    )
    return replace(
        filled,
        title=to(filled.title),
        number=to(filled.number),
        banner=to(filled.banner),
        blocks=blocks,
        footer=to(filled.footer),
    )
