"""Names and blind ids are what the standards give: an enciphered id and keyed hashes, however fast they are made."""

import base64
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.disclosure.students import Students

KEYS = {
    "blind/school": b"\x08" * 32,
    "near/school": b"\x09" * 32,
    "name/clinic": b"\x07" * 32,
    "name/grid": b"\x06" * 32,
}
IDS = st.text("0123456789abcdef", min_size=32, max_size=32)


class _Keys:
    def derive(self, label: str) -> bytes:
        return KEYS[label]


def _students() -> Students:
    return Students(_Keys())  # type: ignore[arg-type]


@given(st.text(max_size=200))
def test_a_blind_id_is_hmac_sha256_beside_its_neighbours(local_id: str) -> None:
    text = local_id.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    near = hmac.digest(KEYS["near/school"], text[:-2].encode(), hashlib.sha256)[:4]
    own = hmac.digest(KEYS["blind/school"], text.encode(), hashlib.sha256)[:16]
    assert _students().blind("school", text) == near + own


@given(st.lists(IDS, max_size=5))
def test_a_pseudonym_is_base32_of_the_id_enciphered(ids: list[str]) -> None:
    expected: list[str] = []
    for student in ids:
        block = Cipher(AES(KEYS["name/clinic"]), modes.ECB()).encryptor().update(bytes.fromhex(student))
        expected.append(f"students/{base64.b32encode(block).decode().rstrip('=').lower()}")
    assert _students().names("clinic", ids) == expected


@given(IDS)
def test_only_the_agency_that_was_told_a_name_can_use_it(student: str) -> None:
    students = _students()
    pseudonym = students.name("clinic", student).removeprefix("students/")
    assert students.identified("clinic", pseudonym) == student
    assert students.identified("grid", pseudonym) != student
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    # Two bits of the last letter say nothing: only one spelling is the name.
    assert students.identified("clinic", pseudonym[:-1] + letters[letters.index(pseudonym[-1]) + 1]) == ""


def test_what_is_no_id_is_refused_and_leaves_nothing_behind_in_the_cipher() -> None:
    students, student = _students(), "0123456789abcdef" * 2
    before = students.name("clinic", student)
    with pytest.raises(ValueError, match="32 hex digits"):
        students.names("clinic", [student, "ab"])
    assert students.name("clinic", student) == before


def test_names_given_by_many_threads_at_once_are_those_one_gives() -> None:
    students, ids = _students(), [f"{number:032x}" for number in range(400)]
    expected = [students.name("clinic", student) for student in ids]
    with ThreadPoolExecutor(8) as threads:
        assert all(given == expected for given in threads.map(lambda _: students.names("clinic", ids), range(64)))
