from decimal import Decimal

import pytest

from xinqiao_hospital.wire import JsonRefused, dump, parse


@pytest.mark.parametrize(
    ("text", "reason", "place"),
    [
        (b'{"a":{"b":1,"b":2}}', "DATA/JSON_DUP_KEY", "a"),
        (b'{"a":[1,NaN]}', "DATA/JSON_NUMBER", "a[1]"),
        (b'{"a":-Infinity}', "DATA/JSON_NUMBER", "a"),
        (b'{"a":1e999}', "DATA/JSON_NUMBER", "a"),
        (b'{"a":' + b"9" * 5000 + b"}", "DATA/JSON_NUMBER", "a"),
        (b'{"a":"\\ud800"}', "DATA/CHARSET", "a"),
        (b'{"a":{"\\udfff":1}}', "DATA/CHARSET", "a"),
        (b"[" * 100_000, "DATA/DEPTH", "character 64"),
        (b"[" * 65 + b"]" * 65, "DATA/DEPTH", "character 64"),
        ('{"a":"文"}'.encode("gb18030"), "DATA/ENCODING", "byte 6"),
        (b"<Task/>", "DATA/JSON_SYNTAX", "line 1 column 1"),
        (b'{"\\u5f20\\u4e09":NaN}', "DATA/JSON_NUMBER", "?"),
    ],
)
def test_json_that_cannot_be_trusted_is_refused_with_its_place(text: bytes, reason: str, place: str) -> None:
    with pytest.raises(JsonRefused) as refused:
        parse(text).clean()
    assert (refused.value.reason, refused.value.place) == (reason, place)


def test_brackets_inside_strings_are_not_depth() -> None:
    assert parse(b'["' + b"[" * 500 + b'\\""]').clean() == ["[" * 500 + '"']


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse(b'"\\ud842\\udfb7"').clean() == "𠮷"


def test_decimals_keep_their_digits() -> None:
    assert parse(b'{"a":0.10}').clean() == {"a": Decimal("0.10")}
    assert dump(parse('{"a":0.10,"b":[true,null,"文"]}'.encode()).clean()) == '{"a":0.10,"b":[true,null,"文"]}'.encode()


def test_an_unterminated_string_of_escapes_is_refused_in_linear_time() -> None:
    with pytest.raises(JsonRefused, match="JSON_SYNTAX"):
        parse(b'"' + b'\\"' * 1_000_000)
