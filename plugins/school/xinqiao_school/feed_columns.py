"""The tables a school brings beside forms: what is read of each, and by which file names it is known."""

from typing import Final, Literal

FeedKind = Literal["attendance", "observations", "sweep"]

_STUDENT = ("student_id", "学号", "sourcedId", "学籍号")
COLUMNS: Final[dict[FeedKind, dict[str, tuple[str, ...]]]] = {
    "attendance": {
        "student": _STUDENT,
        "from": ("from", "开始日期"),
        "to": ("to", "结束日期"),
        "school_days": ("school_days", "应到天数"),
        "absent": ("absent", "缺勤天数"),
        "sick": ("sick", "病假天数"),
    },
    "observations": {
        "student": _STUDENT,
        "date": ("date", "日期"),
        "codes": ("codes", "观察代码"),
    },
    "sweep": {
        "class": ("class", "班级"),
        "period": ("period", "周期"),
        "students_seen": ("students_seen", "排查人数"),
        "concerns": ("concerns", "关注人数"),
        "nil": ("nil", "零报告"),
    },
}
"""Of each feed: what is read, and the headers it may stand under, the first one being ours."""

FILE_NAMES: Final[dict[FeedKind, tuple[str, ...]]] = {
    "attendance": ("attendance*", "考勤*"),
    "observations": ("observations*", "观察*"),
    "sweep": ("sweep*", "班级排查*"),
}
"""By which names a file is such a feed where the settings name none."""
