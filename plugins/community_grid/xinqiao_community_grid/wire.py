"""The wire format as data: columns of each table, the words of their codes, and what each means to the gateway."""

import re
from typing import Final

from xinqiao.adapters.files import Column
from xinqiao.api.screening.v1 import screening_pb2 as screening

STUDENT: Final = re.compile(r"students/[a-z2-7]{26}", re.ASCII)
RECORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)

VISITS: Final = (
    Column("record", ("记录编号",)),
    Column("grid", ("网格编码",)),
    Column("student", ("学生编号",)),
    Column("task", ("任务编号",), required=False),
    Column("day", ("走访日期",)),
    Column("met", ("是否见到",)),
    Column("observed", ("所见情况",)),
    Column("care_situation", ("照料情况",), required=False),
    Column("need", ("需求",), required=False),
    Column("told_school", ("已告知学校",), required=False),
    Column("next_visit", ("下次走访",), required=False),
    Column("concern", ("关注",), required=False),
)
"""A visit a row. ``student`` and ``task`` are the codes of the task sheet."""

WEEKS: Final = (
    Column("grid", ("网格编码",)),
    Column("week", ("周次",)),
    Column("nil", ("零报告",)),
    Column("seen", ("走访人数",)),
    Column("concerns", ("关注人数",), required=False),
)
"""The report of a grid and week; ``nil`` is said, never left out."""

BOOKS: Final = (
    Column("month", ("月份",)),
    Column("nil", ("零报告",), required=False),
    Column("record", ("记录编号",), required=False),
    Column("student", ("学生编号",), required=False),
    Column("day", ("走访日期",), required=False),
)
"""The station's own books of a month, whole: a visit a row, or one row that says that there was none."""

ALLOTMENTS: Final = (Column("task", ("任务编号",)), Column("grid", ("网格编码",)))
"""Which grid does which task, where a station has several."""

TASKS: Final = ("任务编号", "网格编码", "学生编号", "姓名", "监护人", "电话", "内容", "期限", "状态")
"""The task sheet the station gets; its first two columns filled in are an allotment."""

CONCERNS: Final[dict[str, int]] = {
    "none": screening.SIGNAL_KIND_UNSPECIFIED,
    "concern": screening.SIGNAL_KIND_CONCERN,
    "suicidal": screening.SIGNAL_KIND_SUICIDAL,
    "self_harm": screening.SIGNAL_KIND_SELF_HARM,
    "violence": screening.SIGNAL_KIND_VIOLENCE,
    "abuse": screening.SIGNAL_KIND_ABUSE,
    "other": screening.SIGNAL_KIND_OTHER,
}
"""What a grid member may have noticed. Whether it is a crisis is for the gateway to say."""

CONCERN_WORDS: Final[dict[str, str]] = {
    "无": "none", "正常": "none", "关注": "concern", "需要关注": "concern", "轻生": "suicidal", "自杀": "suicidal",
    "自伤": "self_harm", "自残": "self_harm", "欺凌": "violence", "家暴": "abuse",
    "暴力": "violence", "侵害": "abuse", "疑似侵害": "abuse", "其他危险": "other", "紧急": "other",
    **{word: word for word in CONCERNS},
}  # fmt: skip
GRAVEST: Final = ("suicidal", "self_harm", "abuse", "violence", "other", "concern")
"""Which of several things that one cell says counts."""
