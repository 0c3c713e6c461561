"""An invented year of a social-work agency at two schools: its logs, row by row, as it would keep them.

The figures are those of a documentary report for 2025 (年度纪实) published in 2026; every row is made up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

YEAR = 2025
_FIRST = date(YEAR, 1, 6)
_LAST = date(YEAR, 12, 28)
SESSIONS = {"case-01": 17, "case-02": 33, **{f"case-{number:02}": 10 for number in range(3, 10)}, "case-10": 14}
"""Sessions of each case: school refusal, self-harm with depression, and eight more in danger."""
_GROUPS = ((12, 121, 14), (11, 115, 14), (11, 115, 14))

FIGURES = {
    "crisis_cases": 10, "case_sessions": 134, "individual_care_students": 86, "letters_answered": 211,
    "group_sessions": 34, "group_attendance": 351, "group_members": 42, "class_lessons": 23, "class_students": 2913,
    "peer_trainings": 3, "peer_members_trained": 36, "teacher_workshops": 4, "teachers_covered": 81,
    "parent_workshops": 2, "parents_covered": 426, "onsite_days": 101, "joint_meetings": 4,
}  # fmt: skip
"""What the yearly report must say of these logs, by the ids of its figures."""


@dataclass(frozen=True, slots=True)
class Table:
    """A log as its agency keeps it: the file's first word, the header, the rows."""

    word: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables() -> Iterator[Table]:
    """The year, log by log. Names and remarks stand beside the figures, as in life; nobody reads them."""
    yield Table("驻校排班", ("编号", "日期", "社工"), [
        (f"d-{number}", day, "示例社工") for number, day in enumerate(_days(101))
    ])  # fmt: skip
    yield Table("个案服务记录", ("编号", "日期", "个案编号", "高危", "时长", "主题", "服务记录"), list(_sessions()))
    yield Table("个别关爱", ("编号", "日期", "对象编号", "时长"), [
        (f"c-{number}", day, f"p-{number}", "15") for number, day in enumerate(_days(86))
    ])  # fmt: skip
    yield Table("小组活动", ("编号", "日期", "小组编号", "人次", "人数"), list(_groups()))
    yield Table("成长课堂", ("编号", "日期", "人数", "备注"), [
        (f"k-{number}", day, str(persons), "生命教育")
        for number, (day, persons) in enumerate(zip(_days(23), _split(2913, 23), strict=True))
    ])  # fmt: skip
    yield Table("培训", ("编号", "日期", "对象", "人数", "班次编号"), [
        (f"t-{number}", day, "心理委员", str(persons), "peers")
        for number, (day, persons) in enumerate(zip(_days(3), (36, 35, 36), strict=True))
    ])  # fmt: skip
    yield Table("工作坊", ("编号", "日期", "对象", "人数"), [*_workshops("教师", 81, 4), *_workshops("家长", 426, 2)])
    yield Table("社工信箱", ("编号", "日期", "回信数"), [
        (f"l-{number}", day, str(letters))
        for number, (day, letters) in enumerate(zip(_days(12), _split(211, 12), strict=True))
    ])  # fmt: skip
    yield Table("联席会议", ("编号", "日期", "人次"), [
        (f"m-{number}", day, "9") for number, day in enumerate(_days(4))
    ])  # fmt: skip


def _sessions() -> Iterator[tuple[str, ...]]:
    number = 0
    for case, times in SESSIONS.items():
        for day in _days(times):
            yield f"s-{number}", day, case, "是", "50", "情绪支持", "编造的记录"
            number += 1


def _groups() -> Iterator[tuple[str, ...]]:
    for group, (meetings, attended, members) in enumerate(_GROUPS):
        shares = _split(attended, meetings)
        for number, (day, share) in enumerate(zip(_days(meetings), shares, strict=True)):
            persons = members if number == 0 else min(share, members)
            yield f"g{group}-{number}", day, f"group-{group}", str(share), str(persons)


def _workshops(audience: str, persons: int, count: int) -> Iterator[tuple[str, ...]]:
    mark = {"教师": "wt", "家长": "wp"}[audience]
    for number, (day, share) in enumerate(zip(_days(count), _split(persons, count), strict=True)):
        yield f"{mark}-{number}", day, audience, str(share)


def _days(count: int) -> Sequence[str]:
    """``count`` different days, spread over the year."""
    step = (_LAST - _FIRST).days // count
    return [(_FIRST + timedelta(days=number * step)).isoformat() for number in range(count)]


def _split(total: int, parts: int) -> list[int]:
    return [total // parts + (index < total % parts) for index in range(parts)]
