"""Which character set a message is in: what MSH-18 declares, or the partner's agreed one; never a guess.

MSH-18 must be found before the bytes can be decoded, and bytes of GB 18030 can look like ``|`` ``^`` ``~`` ``\\``. So the
header is decoded as each supported set, and the one that MSH-18 then names is taken: only one can agree with itself.
"""

from typing import Final

from xinqiao_hospital.hl7.refused import Hl7Refused

UTF_8: Final = "utf-8"
GB_18030: Final = "gb18030"
_SUPPORTED: Final = (UTF_8, GB_18030, "ascii")

# Table 0211, and spellings found in the field. GBK and GB 2312 are subsets of GB 18030.
_NAMES: Final = {
    "UNICODE UTF-8": UTF_8,
    "UTF-8": UTF_8,
    "UTF8": UTF_8,
    "GB 18030-2000": GB_18030,
    "GB18030-2000": GB_18030,
    "GB 18030": GB_18030,
    "GB18030": GB_18030,
    "GB 18030-2005": GB_18030,
    "GB 18030-2022": GB_18030,
    "GBK": GB_18030,
    "GB2312": GB_18030,
    "ASCII": "ascii",
}
_DECLARED: Final = {UTF_8: "UNICODE UTF-8", GB_18030: "GB 18030-2000"}
BOM: Final = b"\xef\xbb\xbf"
_MSH_18: Final = 17  # MSH-1 is the separator itself


def declaration(charset: str) -> str:
    """What MSH-18 says for a character set."""
    return _DECLARED[charset]


def decode(raw: bytes, agreed: str) -> tuple[str, str]:
    """The text and its character set. Raises Hl7Refused (AR/ENCODING) where declaration and bytes disagree."""
    data = raw.removeprefix(BOM)
    charset = _charset(data, agreed)
    if charset == GB_18030 and _is_chinese_utf_8(data):
        raise _refused("GB 18030 is declared or agreed, the bytes are UTF-8; correct MSH-18", "MSH-18")
    try:
        return data.decode(charset), charset
    except UnicodeDecodeError as e:
        raise _refused(f"the bytes are not {charset}", f"byte {e.start + len(raw) - len(data)}") from None


def _charset(data: bytes, agreed: str) -> str:
    header = data.replace(b"\n", b"\r").partition(b"\r")[0]
    if len(header) > 64 * 1024:
        raise _refused("the header segment does not end", "MSH")
    said: list[str] = []
    for candidate in _SUPPORTED:
        try:
            name = _declared(header.decode(candidate))
        except UnicodeDecodeError:
            continue
        said.append(name)
        if (agreed if not name else _NAMES.get(name.upper())) == candidate:
            return candidate
    if not said:
        raise _refused("the header is neither UTF-8 nor GB 18030", "MSH")
    if any(name and name.upper() not in _NAMES for name in said):
        raise _refused("this character set is not supported; use UNICODE UTF-8 or GB 18030-2000", "MSH-18")
    raise _refused("the header's bytes are not in the character set it declares, or that is agreed", "MSH-18")


def _declared(header: str) -> str:
    fields = header.split("|")
    return fields[_MSH_18].partition("~")[0].strip() if len(fields) > _MSH_18 else ""


def _is_chinese_utf_8(data: bytes) -> bool:
    """Whether the bytes beyond ASCII are UTF-8 for CJK through and through: GB 18030 text is that only by design.

    Decoding UTF-8 as GB 18030 often succeeds and gives other, plausible characters: a silent wrong name.
    """
    if data.isascii():
        return False
    try:
        text = data.decode(UTF_8)
    except UnicodeDecodeError:
        return False
    beyond = [char for char in text if ord(char) > 0x7F]
    return all(0x2000 <= ord(char) <= 0x9FFF or 0xF900 <= ord(char) <= 0xFFEF or ord(char) > 0x1FFFF for char in beyond)


def _refused(message: str, place: str) -> Hl7Refused:
    return Hl7Refused("AR", "ENCODING", message, place)
