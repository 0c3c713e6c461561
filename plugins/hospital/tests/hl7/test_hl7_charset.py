"""MSH-18 is found although it must be found before the bytes can be read."""

import pytest

from xinqiao_hospital.hl7.charset import decode
from xinqiao_hospital.hl7.message import parse
from xinqiao_hospital.hl7.refused import Hl7Refused

# 瑋 ends with |, 誠 with \, 璣 with ^ and 瓇 with ~ in GB 18030.
FACILITY = "瑋誠璣瓇"
HEADER = "MSH|^~\\&|医院|{facility}|网关|区县|20261006||RRI^I12|M1|P|2.5.1||||||{declared}\rNTE|1||{facility}\r"


@pytest.mark.parametrize("agreed", ["utf-8", "gb18030"])
@pytest.mark.parametrize(
    ("declared", "charset"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("UTF-8", "utf-8"),
        ("unicode utf-8", "utf-8"),
        ("GB 18030-2000", "gb18030"),
        ("GB18030", "gb18030"),
        ("GBK", "gb18030"),
        ("GB 18030-2000~UNICODE UTF-8", "gb18030"),
    ],
)
def test_a_declared_set_is_found_behind_names_that_hold_delimiters(declared: str, charset: str, agreed: str) -> None:
    message = parse(HEADER.format(facility=FACILITY, declared=declared).encode(charset), agreed)
    assert message.header.component(4) == FACILITY == message.all("NTE")[0].text(3)
    assert (message.control_id, message.charset) == ("M1", charset)


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_an_empty_one_means_what_was_agreed(charset: str) -> None:
    raw = HEADER.format(facility=FACILITY, declared="").encode(charset)
    assert decode(raw, charset)[1] == charset
    with pytest.raises(Hl7Refused, match="ENCODING"):
        decode(raw, "gb18030" if charset == "utf-8" else "utf-8")


@pytest.mark.parametrize("character", ["𠮷", "㛃", "𬱖", "龴", "€", "①"])
def test_rare_characters_of_names_survive_gb_18030(character: str) -> None:
    raw = HEADER.format(facility=character, declared="GB 18030-2000").encode("gb18030")
    assert parse(raw, "utf-8").all("NTE")[0].text(3) == character


@pytest.mark.parametrize("text", ["模", "联通", "床位已满", "欧阳小雨", "市精神卫生中心", "请转诊"])
def test_real_gb_18030_is_never_taken_for_utf_8(text: str) -> None:
    raw = HEADER.format(facility=text, declared="GB 18030-2000").encode("gb18030")
    assert parse(raw, "gb18030").header.component(4) == text


def test_a_header_without_an_end_is_refused_before_it_is_split() -> None:
    with pytest.raises(Hl7Refused) as refused:
        decode(b"MSH|^~\\&|" + b"|" * 100_000, "utf-8")
    assert (refused.value.code, refused.value.reason, refused.value.place) == ("AR", "ENCODING", "MSH")
