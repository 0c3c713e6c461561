"""Names and blind ids are keyed hashes as the standards have them, however fast they are made."""

import base64
import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from xinqiao.disclosure.students import Students

KEYS = {"pseudonym/clinic": b"\x07" * 32, "blind/school": b"\x08" * 32}


class _Keys:
    def derive(self, label: str) -> bytes:
        return KEYS[label]


@given(st.text(max_size=200))
def test_a_blind_id_is_hmac_sha256(local_id: str) -> None:
    students = Students(_Keys())  # type: ignore[arg-type]
    text = local_id.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    expected = hmac.digest(KEYS["blind/school"], text.encode(), hashlib.sha256)[:16]
    assert students.blind("school", text) == expected


@given(st.text("0123456789abcdef", min_size=32, max_size=32))
def test_a_pseudonym_is_base32_of_hmac_sha256(student: str) -> None:
    students = Students(_Keys())  # type: ignore[arg-type]
    digest = hmac.digest(KEYS["pseudonym/clinic"], student.encode(), hashlib.sha256)[:16]
    expected = base64.b32encode(digest).decode().rstrip("=").lower()
    assert students.name("clinic", student) == f"students/{expected}"
