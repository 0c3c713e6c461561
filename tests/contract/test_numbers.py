"""What could be a person's number is known as one, and what is a partner's own is not."""

import pytest

from xinqiao.contract.numbers import is_a_persons


@pytest.mark.parametrize(
    "text",
    [
        "320583201203151000", "320583201203151234", "32058320120315123X", "32058320120315123x", "320501100101123",
        "session/320583201203151000", "a-320501100101123", "13812345678", "8613812345678", "+86-13812345678",
        "case.13812345678", "0512-57001234", "051257001234", "010-62345678",
    ],
)  # fmt: skip
def test_a_persons_number(text: str) -> None:
    assert is_a_persons(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "s-1", "session/s-3", "2026-11-03/17", "20261103000017", "202611030000171", "20261103123456789", "group.A",
        "KS-2026-000123", "320583199913450000", "case-0512", "1234567890", "12812345678",
    ],
)  # fmt: skip
def test_a_number_of_a_partners_own(text: str) -> None:
    assert not is_a_persons(text)
