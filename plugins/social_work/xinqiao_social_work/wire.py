"""The logs an agency keeps: what a file is called, which columns it has, and what a row of it counts as.

A log file is named by the word it begins with, such as ``个案服务记录-2025.xlsx``. Columns may stand in any order;
columns that are not listed (names, remarks) are not read at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from xinqiao.adapters.files import Column
from xinqiao.api.exchange.v1 import activity_service_pb2 as pb
from xinqiao.api.referral.v1 import referral_pb2 as referral

ROW = Column("编号", ("记录编号", "row_id", "id"))
DAY = Column("日期", ("服务日期", "date", "day"))
SCHOOL = Column("学校代码", ("school",), required=False)
CASE = Column("个案编号", ("case",))
CRISIS = Column("高危", ("危机个案", "crisis"), required=False)
STUDENT = Column("学生代号", ("student",), required=False)
THEME = Column("主题", ("服务主题", "theme"), required=False)
NUMBER = Column("节次", ("第几次", "number"), required=False)
NOTE = Column("服务记录", ("note",), required=False)
PERSON = Column("对象编号", ("client",), required=False)
GROUP = Column("小组编号", ("group",))
COURSE = Column("班次编号", ("series",), required=False)
AUDIENCE = Column("对象", ("服务对象", "audience"))
LETTERS = Column("回信数", ("封数", "letters"))
ATTENDANCES = Column("人次", ("attendances",))
PERSONS = Column("人数", ("persons",))
SOME_PERSONS = Column(PERSONS.name, PERSONS.aliases, required=False)
SOME_ATTENDANCES = Column(ATTENDANCES.name, ATTENDANCES.aliases, required=False)
MINUTES = Column("时长", ("分钟", "minutes"), required=False)


@dataclass(frozen=True, slots=True)
class Log:
    """One kind of log. ``id`` begins the source of each of its rows; ``series`` is the column that says of what.

    ``one_person``: each row is one person, also where nobody counted. ``may_be_planned``: a day that has not come
    yet is a plan and counts when it comes.
    """

    id: str
    words: tuple[str, ...]
    kind: pb.ActivityKind.ValueType
    columns: tuple[Column, ...]
    audience: pb.Audience.ValueType = pb.AUDIENCE_UNSPECIFIED
    series: Column | None = None
    one_person: bool = False
    may_be_planned: bool = False


_STUDENTS = pb.AUDIENCE_STUDENTS
LOGS = (
    Log("duty", ("驻校排班", "duty"), pb.ACTIVITY_KIND_ONSITE_DAY, (), may_be_planned=True),
    Log(
        "session", ("个案服务记录", "sessions"), pb.ACTIVITY_KIND_SESSION,
        (CASE, CRISIS, MINUTES, STUDENT, THEME, NUMBER), _STUDENTS, CASE, one_person=True,
    ),
    Log(
        "contact", ("个别关爱", "contacts"), pb.ACTIVITY_KIND_CONTACT, (PERSON, MINUTES), _STUDENTS, PERSON,
        one_person=True,
    ),
    Log(
        "group", ("小组活动", "groups"), pb.ACTIVITY_KIND_GROUP, (GROUP, ATTENDANCES, SOME_PERSONS, MINUTES),
        _STUDENTS, GROUP,
    ),
    Log("lesson", ("成长课堂", "lessons"), pb.ACTIVITY_KIND_LESSON, (PERSONS, MINUTES), _STUDENTS),
    Log(
        "workshop", ("工作坊", "workshops"), pb.ACTIVITY_KIND_WORKSHOP, (AUDIENCE, PERSONS, MINUTES, COURSE),
        series=COURSE,
    ),
    Log(
        "training", ("培训", "trainings"), pb.ACTIVITY_KIND_TRAINING, (AUDIENCE, PERSONS, MINUTES, COURSE),
        series=COURSE,
    ),
    Log("letter", ("社工信箱", "letters"), pb.ACTIVITY_KIND_LETTER, (LETTERS,)),
    Log("meeting", ("联席会议", "meetings"), pb.ACTIVITY_KIND_MEETING, (SOME_ATTENDANCES, MINUTES)),
)  # fmt: skip
"""Every log but the answers."""

AUDIENCES: Mapping[str, pb.Audience.ValueType] = {
    "学生": pb.AUDIENCE_STUDENTS, "students": pb.AUDIENCE_STUDENTS,
    "心理委员": pb.AUDIENCE_PEERS, "peers": pb.AUDIENCE_PEERS,
    "教师": pb.AUDIENCE_TEACHERS, "teachers": pb.AUDIENCE_TEACHERS,
    "家长": pb.AUDIENCE_PARENTS, "parents": pb.AUDIENCE_PARENTS,
    "公众": pb.AUDIENCE_PUBLIC, "public": pb.AUDIENCE_PUBLIC,
}  # fmt: skip
YES = frozenset({"是", "yes", "1", "TRUE", "true"})
NO = frozenset({"", "否", "no", "0", "FALSE", "false"})

ANSWERS = ("答复", "answers")
ITEM = Column("单号", ("item",))
RESULT = Column("结果", ("result",))
WORDS = Column("说明", ("words",), required=False)
CODE = Column("原因码", ("reason_code",), required=False)
ADVICE = Column("给学校的建议", ("school_advice",), required=False)
CARE = Column("给关爱小组的建议", ("care_advice",), required=False)
ANSWER_COLUMNS = (ROW, ITEM, RESULT, WORDS, CODE, ADVICE, CARE)

BOOKS = ("月度台账", "books")
MONTH = Column("月份", ("month",))
KIND = Column("类别", ("kind",), required=False)
BOOK_ROW = Column(ROW.name, ROW.aliases, required=False)
BOOK_DAY = Column(DAY.name, DAY.aliases, required=False)
TIMES = Column("次数", ("times",), required=False)
STATE = Column("月末状态", ("state",), required=False)
BOOK_ITEM = Column(ITEM.name, ITEM.aliases, required=False)
NIL = Column("零报告", ("nil",), required=False)
BOOK_COLUMNS = (
    MONTH, KIND, BOOK_ROW, BOOK_DAY, TIMES, SOME_ATTENDANCES, SOME_PERSONS, STUDENT, BOOK_ITEM, STATE, NIL,
)  # fmt: skip
REFERRAL_KIND = frozenset({"转介", "referral"})
_PROGRESS = (
    ("接受", "accepted", referral.REFERRAL_EVENT_ACCEPT, referral.REFERRAL_STATE_ACCEPTED),
    ("候补", "waitlisted", referral.REFERRAL_EVENT_WAITLIST, referral.REFERRAL_STATE_WAITLISTED),
    ("婉拒", "declined", referral.REFERRAL_EVENT_DECLINE, referral.REFERRAL_STATE_DECLINED),
    ("到访", "attended", referral.REFERRAL_EVENT_ATTEND, referral.REFERRAL_STATE_ATTENDED),
    ("未到", "no_show", referral.REFERRAL_EVENT_NO_SHOW, referral.REFERRAL_STATE_NO_SHOW),
    ("反馈", "outcome", referral.REFERRAL_EVENT_REPORT_OUTCOME, referral.REFERRAL_STATE_OUTCOME_REPORTED),
)
"""How far a referral has come: the words, what they report of it, and where it stands then."""

STATES: Mapping[str, referral.ReferralState.ValueType] = {"": referral.REFERRAL_STATE_UNSPECIFIED} | {
    word: state for zh, en, _, state in _PROGRESS for word in (zh, en)
}
"""Where a referral stood at the month's end, in the agency's words; blank says only that the agency has it."""

DONE, CANNOT = "done", "cannot"
TASK_RESULTS: Mapping[str, str] = {"已完成": DONE, "done": DONE, "无法完成": CANNOT, "cannot": CANNOT}
"""Only the school says that a task is no longer needed: one that cannot be done stays open, in a person's hands."""
REFERRAL_RESULTS: Mapping[str, referral.ReferralEvent.ValueType] = {
    word: event for zh, en, event, _ in _PROGRESS for word in (zh, en)
}
"""That it was received is not said here: the file in the outbox is the receipt."""
NEED_WORDS = frozenset({referral.REFERRAL_EVENT_DECLINE, referral.REFERRAL_EVENT_NO_SHOW})
"""What a referral's sender must be told the reason of."""


def log_of(name: str) -> Log | None:
    """The log that a file of this name is; None where it is none of them (answers are not one)."""
    return next((log for log in LOGS if name.startswith(log.words)), None)


def is_answers(name: str) -> bool:
    """Whether a file of this name holds answers to referrals and tasks."""
    return name.startswith(ANSWERS)


def is_books(name: str) -> bool:
    """Whether a file of this name is the agency's own books of a month."""
    return name.startswith(BOOKS)


def known_words() -> str:
    """The words a file name may begin with, for people."""
    return ", ".join("/".join(words) for words in (*(log.words for log in LOGS), ANSWERS, BOOKS))
