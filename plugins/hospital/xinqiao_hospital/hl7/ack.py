"""Acknowledgments: ACK with MSA and, for a refusal, ERR that says what and where."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xinqiao.contract.clock import from_us
from xinqiao_hospital.hl7.message import Message, composite, escape, segment, stamp
from xinqiao_hospital.hl7.refused import Hl7Refused

LOCAL = "99XINQIAO"
_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[([0-9]+)\])?(?:-([0-9]+)(?:\.([0-9]+))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Party:
    """An application and its facility, as MSH names them; either may be empty."""

    application: str
    facility: str


def header(
    kind: tuple[str, ...],
    control_id: str,
    us: int,
    *,
    sender: Party,
    receiver: Party,
    processing_id: str,
    charset: str,
) -> str:
    """An MSH segment of version 2.5.1; ``charset`` is MSH-18's spelling."""
    return segment(
        "MSH",
        {
            1: "^~\\&",
            2: escape(sender.application),
            3: escape(sender.facility),
            4: escape(receiver.application),
            5: escape(receiver.facility),
            6: stamp(from_us(us)),
            8: composite(*kind),
            9: escape(control_id),
            10: processing_id,
            11: "2.5.1",
            17: charset,
        },
    )


def acknowledgment(code: str, control_id: str, said: Sequence[Hl7Refused] = ()) -> list[str]:
    """The segments after MSH: MSA, and an ERR for each thing to say: errors, or with AA information."""
    return [segment("MSA", {1: code, 2: escape(control_id)}), *(_err(code, one) for one in said)]


def _err(code: str, said: Hl7Refused) -> str:
    return segment(
        "ERR",
        {
            2: _location(said.place),
            3: composite(said.error_code if code != "AA" else "0", "", "HL70357"),
            4: "E" if code != "AA" else "I",
            5: composite(said.reason, "", LOCAL),
            8: escape(f"{said.place}: {said.message}"),
        },
    )


def _location(place: str) -> str:
    found = _PLACE.fullmatch(place)
    if found is None:
        return ""
    name, ordinal, field, component = found.groups()
    return composite(name, ordinal or "1", field or "", "1" if field and component else "", component or "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an acknowledgment says of the message it answers: MSA-1, and the reason of the first ERR."""

    code: str
    reason: str
    place: str


def verdict(answer: Message, control_id: str) -> Verdict:
    """Read an acknowledgment of ``control_id``. Raises Hl7Refused where it is not one."""
    msa = answer.one("MSA")
    if msa.needed(2) != control_id:
        raise Hl7Refused("AE", "IDENTIFIER", "the acknowledgment is of another message", "MSA-2")
    error = answer.first("ERR")
    if error is None:
        return Verdict(msa.needed(1), "", "")
    reason = error.component(5) if _WORD.fullmatch(error.component(5)) else ""
    where = [part for part in error.repetitions(2)[0][:3] if part.isascii() and part.isalnum() and len(part) <= 5]
    place = f"{where[0]}[{where[1]}]-{where[2]}" if len(where) == 3 else ""
    return Verdict(msa.needed(1), reason or _code(error.component(3)), place)


_WORD = re.compile(r"[A-Z][A-Z_]{2,30}", re.ASCII)


def _code(text: str) -> str:
    return f"HL7_{text}" if text.isascii() and text.isdigit() and len(text) == 3 else ""
