"""What the platform says about a ticket, judged whole before anything of it is used."""

import hashlib
from dataclasses import dataclass
from datetime import date

from xinqiao_gov_share import codes
from xinqiao_gov_share.wire import Fields, Json, WireRefused

_MAX_ANSWERS = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """The ``number``-th thing the agency answered, from 1; ``content`` is protobuf JSON of ``kind``."""

    number: int
    kind: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why it is not shared: who says so, a code of ``codes.REFUSALS``, and the article it rests on."""

    by_agency: bool
    code: str
    law: str
    article: int
    words: str

    @property
    def citation(self) -> str:
        """Law and article, from our own table: the platform's text may name a person."""
        return f"{codes.LAWS[self.law]} art. {self.article} (第{self.article}条)"


@dataclass(frozen=True, slots=True)
class Supplement:
    """What is missing (补正), codes of ``codes.SUPPLEMENTS``, and until when."""

    items: tuple[str, ...]
    until: date | None


@dataclass(frozen=True, slots=True)
class Record:
    """Where a ticket stands. ``final``: nothing more comes. ``due`` is the platform's own day, where it names one."""

    ticket: str
    request_no: str
    state: str
    final: bool
    due: date | None
    answers: tuple[Answer, ...]
    refusal: Refusal | None
    supplement: Supplement | None

    @classmethod
    def of(cls, data: Json) -> "Record":
        """Read it. Raises WireRefused naming the place."""
        fields = Fields(data, "data")
        state = fields.text("state", r"[A-Z]{1,20}")
        if state not in codes.STATES:
            raise WireRefused("DATA/STATE", f"a state is one of {', '.join(codes.STATES)}", "data.state")
        found = cls(
            ticket=fields.text("ticket", r"[A-Za-z0-9-]{1,64}"),
            request_no=fields.text("requestNo", r"[A-Za-z0-9._:-]{8,64}"),
            state=state,
            final=fields.flag("final"),
            due=fields.day("dueOn"),
            answers=_answers(fields.parts("answers", _MAX_ANSWERS)),
            refusal=_refusal(fields.part("refusal")),
            supplement=_supplement(fields.part("supplement")),
        )
        fields.end()
        if (found.state == "REFUSED") != (found.refusal is not None):
            raise WireRefused("DATA/STATE", "REFUSED and a refusal go together", "data.refusal")
        if found.state == "SUPPLEMENT" and found.supplement is None:
            raise WireRefused("DATA/STATE", "SUPPLEMENT needs what is missing", "data.supplement")
        return found

    def following(self, taken: int) -> tuple[Answer, ...]:
        """The answers after the first ``taken`` without a gap: what overtook another waits for it."""
        by_number = {answer.number: answer for answer in self.answers}
        found: list[Answer] = []
        while (answer := by_number.get(taken + len(found) + 1)) is not None:
            found.append(answer)
        return tuple(found)


def _answers(parts: list[Fields]) -> tuple[Answer, ...]:
    found: dict[int, Answer] = {}
    for at, part in enumerate(parts):
        answer = Answer(
            part.integer("number", 1, _MAX_ANSWERS), part.text("kind", r"[a-z_]{1,32}"), part.data("content")
        )
        digest = part.text("sha256", r"[0-9a-f]{64}")
        part.end()
        place = f"data.answers[{at}]"
        if hashlib.sha256(answer.content).hexdigest() != digest:
            raise WireRefused("DATA/DIGEST", "the content does not have its SHA-256", place)
        if found.setdefault(answer.number, answer) != answer:
            raise WireRefused("DATA/DUPLICATE", "a number stands for two answers", place)
    return tuple(found[number] for number in sorted(found))


def _refusal(part: Fields | None) -> Refusal | None:
    if part is None:
        return None
    by, code, law = (part.text(name, r"[A-Z0-9_-]{1,32}") for name in ("by", "code", "law"))
    found = Refusal(by == "AGENCY", code, law, part.integer("article", 1, 999), part.words("text", 1000))
    part.end()
    for value, known, name in (
        (by, ("AGENCY", "PLATFORM"), "by"),
        (code, codes.REFUSALS, "code"),
        (law, codes.LAWS, "law"),
    ):
        if value not in known:
            raise WireRefused("DATA/CODE", f"one of {', '.join(known)}", f"data.refusal.{name}")
    return found


def _supplement(part: Fields | None) -> Supplement | None:
    if part is None:
        return None
    found = Supplement(tuple(part.texts("items", r"[A-Z_]{1,32}", 20)), part.day("until"))
    part.end()
    if not found.items or any(item not in codes.SUPPLEMENTS for item in found.items):
        raise WireRefused("DATA/CODE", f"one of {', '.join(codes.SUPPLEMENTS)}", "data.supplement.items")
    return found
