"""OBR and OBX segments: facts of the referral, and forms with LOINC where a form has it."""

from collections.abc import Sequence
from typing import Final

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.screening.v1.screening_pb2 import Assessment
from xinqiao_hospital import codes
from xinqiao_hospital.hl7.ack import LOCAL
from xinqiao_hospital.hl7.message import composite, escape, segment

_LOINC: Final = "LN"


class Observations:
    """Segments in the making. OBR is numbered over the message, OBX within its OBR; a panel without OBX is left out."""

    def __init__(self, placer: str, authority: str) -> None:
        self._placer = composite(placer, authority)
        self._authority = authority
        self._panels = 0
        self._waiting: dict[int, str] = {}
        self._number = 0
        self.lines: list[str] = []

    def panel(self, code: str, title: str, system: str, taken_on: str, filler: str = "") -> None:
        """Begin an OBR; it is written with its first OBX."""
        self._number = 0
        self._waiting = {
            2: self._placer,
            3: composite(filler, self._authority) if filler else "",
            4: composite(code, title, system),
            7: taken_on.replace("-", ""),
            25: "F",
        }

    def text(self, code: str, title: str, system: str, value: str) -> None:
        self._add("TX", composite(code, title, system), escape(value))

    def time(self, code: str, title: str, system: str, value: str) -> None:
        self._add("TS", composite(code, title, system), value)

    def coded(self, code: str, title: str, system: str, value: str) -> None:
        self._add("CE", composite(code, title, system), value)

    def number(self, code: str, title: str, system: str, value: int | None) -> None:
        """Points; X (no result can be had) where the form's missing-data rule gives none."""
        self._add("NM", composite(code, title, system), "" if value is None else str(value), value is not None)

    def _add(self, kind: str, what: str, value: str, final: bool = True) -> None:
        if self._waiting:
            self._panels += 1
            self.lines.append(segment("OBR", {1: str(self._panels), **self._waiting}))
            self._waiting = {}
        self._number += 1
        fields = {1: str(self._number), 2: kind, 3: what, 5: value, 11: "F" if final else "X"}
        self.lines.append(segment("OBX", fields))


def assessments(forms: Sequence[Assessment], into: Observations) -> list[str]:
    """Add every form; the lines that were added. Raises RecordRejected where answers do not fit the instrument."""
    before = len(into.lines)
    for ordinal, form in enumerate(forms):
        if not form.instrument:
            continue  # the door withheld what form it is
        panel = codes.PANELS.get(form.instrument)
        code, system = (panel.panel, _LOINC) if panel else (form.instrument, LOCAL)
        into.panel(code, form.instrument, system, form.taken_on, form.name.removeprefix("assessments/"))
        _answers(form, panel, ordinal, into)
        for score in form.scores:
            value = score.value if score.HasField("value") else None
            if score.id == "total" and panel:
                into.number(panel.total, f"{form.instrument} total", _LOINC, value)
            elif score.id == "total" or not panel:
                into.number(f"{form.instrument}/{score.id}", f"{form.instrument} {score.id}", LOCAL, value)
    return into.lines[before:]


def _answers(form: Assessment, panel: codes.Panel | None, ordinal: int, into: Observations) -> None:
    place = f"ReferralPackage.assessments[{ordinal}].answers"
    if panel and form.answers and len(form.answers) != len(panel.items):
        raise RecordRejected("DATA/ANSWERS", f"the form needs {len(panel.items)} answers", place)
    for index, answer in enumerate(form.answers):
        if answer == codes.NOT_ANSWERED:
            continue
        title = f"{form.instrument} item {index + 1}"
        if panel is None:
            into.number(f"{form.instrument}/{index + 1}", title, LOCAL, answer)
        elif answer >= len(codes.ANSWERS):
            raise RecordRejected("DATA/ANSWERS", "an answer is outside the form's scale 0 to 3", f"{place}[{index}]")
        else:
            into.coded(panel.items[index], title, _LOINC, composite(*codes.ANSWERS[answer], _LOINC))
