"""Service logs of a year of school social work that give the figures of a report published in 2026; all invented."""

from collections.abc import Iterator
from datetime import date, timedelta

from xinqiao.api.exchange.v1 import activity_service_pb2 as pb

SESSIONS = {"case-01": 17, "case-02": 33, **{f"case-{n:02}": 10 for n in range(3, 10)}, "case-10": 14}
FIGURES = {
    "crisis_cases": 10, "case_sessions": 134, "individual_care_students": 86, "letters_answered": 211,
    "group_sessions": 34, "group_attendance": 351, "group_members": 42, "class_lessons": 23, "class_students": 2913,
    "peer_trainings": 3, "peer_members_trained": 36, "teacher_workshops": 4, "teachers_covered": 81,
    "parent_workshops": 2, "parents_covered": 426, "onsite_days": 101,
}  # fmt: skip
"""What the printed report says, by the ids of `config/reports/yearly.yaml`."""


def _day(number: int, every: int = 1) -> str:
    return (date(2025, 1, 6) + timedelta(days=number * every)).isoformat()


def _split(total: int, parts: int) -> list[int]:
    return [total // parts + (index < total % parts) for index in range(parts)]


def logs() -> Iterator[pb.Activity]:
    """A year, thing by thing."""
    number = 0
    for series, times in SESSIONS.items():
        for index in range(times):
            yield pb.Activity(
                source=f"s-{number}", kind=pb.ACTIVITY_KIND_SESSION, day=_day(index, 9), series=series, crisis=True,
                attendances=1, persons=1, minutes=50, audience=pb.AUDIENCE_STUDENTS,
            )  # fmt: skip
            number += 1
    yield from _many(pb.ACTIVITY_KIND_CONTACT, pb.AUDIENCE_STUDENTS, "c", persons=[1] * 86, series="contact")
    yield from _many(pb.ACTIVITY_KIND_LETTER, 0, "l", times=_split(211, 12))
    for group, (meetings, attended, members) in enumerate(((12, 121, 14), (11, 115, 14), (11, 115, 14))):
        shares = _split(attended, meetings)
        yield from _many(
            pb.ACTIVITY_KIND_GROUP, pb.AUDIENCE_STUDENTS, f"g{group}", attendances=shares,
            persons=[members, *(min(each, members) for each in shares[1:])], one_series=f"group-{group}",
        )  # fmt: skip
    yield from _many(pb.ACTIVITY_KIND_LESSON, pb.AUDIENCE_STUDENTS, "k", persons=_split(2913, 23))
    yield from _many(pb.ACTIVITY_KIND_TRAINING, pb.AUDIENCE_PEERS, "p", persons=[36, 35, 36], one_series="peers")
    yield from _many(pb.ACTIVITY_KIND_WORKSHOP, pb.AUDIENCE_TEACHERS, "t", persons=_split(81, 4))
    yield from _many(pb.ACTIVITY_KIND_WORKSHOP, pb.AUDIENCE_PARENTS, "e", persons=_split(426, 2))
    yield from _many(pb.ACTIVITY_KIND_ONSITE_DAY, 0, "d", times=[1] * 101)


def _many(
    kind: int, audience: int, prefix: str, *, times: list[int] | None = None, attendances: list[int] | None = None,
    persons: list[int] | None = None, series: str = "", one_series: str = "",
) -> Iterator[pb.Activity]:  # fmt: skip
    count = len(times or attendances or persons or [])
    for index in range(count):
        yield pb.Activity(
            source=f"{prefix}-{index}", kind=pb.ActivityKind.ValueType(kind), audience=pb.Audience.ValueType(audience),
            day=_day(index, max(1, 330 // count)), times=times[index] if times else 0,
            attendances=attendances[index] if attendances else 0, persons=persons[index] if persons else 0,
            series=one_series or (f"{series}-{index}" if series else ""),
        )  # fmt: skip
