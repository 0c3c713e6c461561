"""Recognising plain rows whole tells the same of a sheet as parsing every cell, or says that it does not."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinqiao.adapters.files.places import FileRefused, Place
from xinqiao.adapters.files.plainrows import PlainRows
from xinqiao.adapters.files.rows import TableLimits
from xinqiao.adapters.files.sheetxml import SheetScan, walk

STRINGS = [3, 5, 2]
CELLS = st.sampled_from(
    [
        '<c r="A{n}" t="s"><v>0</v></c>', '<c r="B{n}"><v>1</v></c>', '<c r="C{n}" s="4"><v>2.5</v></c>',
        '<c r="D{n}" t="inlineStr"><is><t>欧阳</t></is></c>', '<c r="E{n}"/>', '<c r="AA{n}" t="s" s="1"><v>2</v></c>',
        '<c r="F{n}"><f>1+1</f><v>2</v></c>', '<c r="G{n}" t="e"><v>#REF!</v></c>', '<c r="A{n}"><v>1</v></c>',
        '<c r="B9{n}"><v>1</v></c>', '<c r="H{n}" t="s"><v>7</v></c>', "<c><v>1</v></c>", '<c r="I{n}"><v>&lt;</v></c>',
    ]
)  # fmt: skip
ROWS = st.lists(
    st.tuples(
        st.sampled_from(['r="{n}"', 'r="{n}" spans="1:9"', 'r="{n}" hidden="1"', 'r="{n}" ht="0"', "", 'r="2"']),
        st.lists(CELLS, max_size=5),
    ),
    max_size=6,
)
HEAD = st.sampled_from(
    [
        "",
        '<cols><col min="2" max="2" hidden="1"/></cols>',
        '<sheetFormatPr zeroHeight="1"/>',
        '<!-- <row r="1"></row> -->',
    ]
)
TAIL = st.sampled_from(["", '<mergeCells><mergeCell ref="A1:B1"/></mergeCells>', "<sheetData></sheetData>"])


def sheet(head: str, rows: list[tuple[str, list[str]]], tail: str) -> bytes:
    body = "".join(
        f"<row {about.replace('{n}', str(n))}>{''.join(cells).replace('{n}', str(n))}</row>".replace("<row >", "<row>")
        for n, (about, cells) in enumerate(rows, start=1)
    )
    return f'<worksheet xmlns="urn:x">{head}<sheetData>{body}</sheetData>{tail}</worksheet>'.encode()


def scan(data: bytes, *, plain: bool) -> "SheetScan | str":
    found = SheetScan(TableLimits(), Place("f"), STRINGS, 100_000)
    stream = io.BytesIO(data)
    try:
        walk(PlainRows(stream, found.take_plain) if plain else stream, Place("f"), found.start, found.end, found.text)
    except FileRefused as error:
        return error.reason
    found.whole = True
    return found


@settings(max_examples=400, deadline=None)
@given(HEAD, ROWS, TAIL)
def test_the_short_way_tells_the_same_or_says_that_it_does_not(
    head: str, rows: list[tuple[str, list[str]]], tail: str
) -> None:
    data = sheet(head, rows, tail)
    short, full = scan(data, plain=True), scan(data, plain=False)
    if not isinstance(short, str) and short.is_exact:
        assert not isinstance(full, str), full
        assert (short.formula, short.error, short.hidden, short.merged) == (
            full.formula, full.error, full.hidden, full.merged,
        )  # fmt: skip
        assert (short.last_row, short.last_column, bool(short.cells)) == (
            full.last_row, full.last_column, bool(full.cells),
        )  # fmt: skip
        assert short.characters >= full.characters


def test_an_ordinary_sheet_takes_the_short_way_whole() -> None:
    rows = [('r="{n}"', ['<c r="A{n}" t="s"><v>0</v></c>', '<c r="B{n}"><v>1</v></c>'])] * 50
    told: list[int] = []
    reader = PlainRows(io.BytesIO(sheet("", rows, "")), lambda row, *_: told.append(row))
    left = b""
    while piece := reader.read(1):
        left += piece
    assert told == list(range(1, 51))
    assert b"<row" not in left


@pytest.mark.parametrize(
    "text", ["<f>1</f><v>1</v>", "<v>1</v><f/>", "<is><r><t>a</t></r></is>", "<v>" + "1" * 500 + "</v>"]
)
def test_a_cell_that_is_not_plain_reaches_the_parser(text: str) -> None:
    data = sheet("", [('r="{n}"', [f'<c r="A{{n}}">{text}</c>'])], "")
    reader = PlainRows(io.BytesIO(data), lambda *_: pytest.fail("taken as plain"))
    assert b"".join(iter(lambda: reader.read(1), b"")) == data
