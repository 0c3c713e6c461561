"""The sheets of the workbook as data: columns, drop-downs, and the words for what must be mended."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from xinqiao.adapters.files.rows import Column
from xinqiao.api.casefile.v1 import plan_pb2 as plan
from xinqiao.api.exchange.v1 import activity_service_pb2 as activity
from xinqiao.api.referral.v1 import referral_pb2 as referral

Kind = Literal["text", "day", "count"]


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its Chinese name, an English line under it, its width in characters; ``fill``: the clerk's to fill."""

    zh: str
    en: str
    width: int
    fill: bool = False
    choices: tuple[str, ...] = ()
    kind: Kind = "text"

    @property
    def title(self) -> str:
        """What stands in the header cell."""
        return f"{self.zh}\n{self.en}"

    @property
    def column(self) -> Column:
        """As the reader knows it; some programs write the line end anew when they save."""
        return Column(self.zh, tuple(f"{self.zh}{end}{self.en}" for end in ("\n", "\r\n", " ", "_x000D_\n")))


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet. ``grows``: the clerk adds rows; else only those that the gateway wrote are answered."""

    name: str
    en: str
    fields: tuple[Field, ...]
    grows: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(field.column for field in self.fields)


ACCEPT, DECLINE, DONE = "受理 Accept", "婉拒 Decline", "已办结 Done"
NO_ROOM, NOT_OURS, NOT_FOUND, UNWILLING, OTHER = (
    "力量不足 No capacity", "不属本部门 Not ours", "联系不上家庭 Family not reached",
    "家庭不同意 Family unwilling", "其他 Other",
)  # fmt: skip
TASK_DONE, TASK_VOID = "已完成 Done", "不再需要 No longer needed"
VISIT, SUPPORT = "家访 Home visit", "支持 Support"
YES, NO = "是 Yes", "否 No"
SOME, NIL = "有 Some", "无（零报告） Nil"
BOOKS_PART: Final = "books"
PARTS: Final[dict[str, str]] = {
    "activities": "家庭教育活动 Activities", "visits": "走访与支持 Visits", BOOKS_PART: "上月台账 Last month's books",
}  # fmt: skip
REFERRAL_RECORD, ACTIVITY_RECORD = "转介 Referral", "活动 Activity"
STATES_BY_WORD: Final[dict[str, referral.ReferralState.ValueType]] = {
    ACCEPT: referral.REFERRAL_STATE_ACCEPTED, DECLINE: referral.REFERRAL_STATE_DECLINED,
    DONE: referral.REFERRAL_STATE_OUTCOME_REPORTED,
}  # fmt: skip
ENTRIES_BY_WORD: Final[dict[str, plan.EntryKind.ValueType]] = {
    VISIT: plan.ENTRY_KIND_HOME_VISIT, SUPPORT: plan.ENTRY_KIND_SUPPORT,
}  # fmt: skip

ACTIVITIES_BY_WORD: Final[dict[str, activity.ActivityKind.ValueType]] = {
    "家庭教育指导 Family education": activity.ACTIVITY_KIND_FAMILY_EDUCATION,
    "讲座 Lecture": activity.ACTIVITY_KIND_LECTURE,
    "工作坊 Workshop": activity.ACTIVITY_KIND_WORKSHOP,
    "培训 Training": activity.ACTIVITY_KIND_TRAINING,
    "小组活动 Group": activity.ACTIVITY_KIND_GROUP,
    "咨询 Consultation": activity.ACTIVITY_KIND_CONSULTATION,
    "专项行动 Campaign": activity.ACTIVITY_KIND_CAMPAIGN,
}
AUDIENCES_BY_WORD: Final[dict[str, activity.Audience.ValueType]] = {
    "家长 Parents": activity.AUDIENCE_PARENTS,
    "学生 Students": activity.AUDIENCE_STUDENTS,
    "教师 Teachers": activity.AUDIENCE_TEACHERS,
    "公众 Public": activity.AUDIENCE_PUBLIC,
}

_STUDENT = Field("学生编号", "Student code", 31)
REFERRALS: Final = Sheet(
    "关爱转介", "Referrals",
    (
        Field("转介编号", "Referral", 34), _STUDENT, Field("姓名", "Name", 12), Field("出生日期", "Born", 12),
        Field("本人电话", "Own phone", 15), Field("监护人", "Guardians", 30), Field("需要的支持", "Support asked", 36),
        Field("备注", "Remark", 14),
        Field("办理", "Answer", 16, True, (ACCEPT, DECLINE, DONE)),
        Field("婉拒原因", "Reason, if declined", 26, True, (NO_ROOM, NOT_OURS, NOT_FOUND, UNWILLING, OTHER)),
        Field("办理情况", "Outcome, if done", 36, True),
    ),
)  # fmt: skip
TASKS: Final = Sheet(
    "任务", "Tasks",
    (
        Field("任务编号", "Task", 30), _STUDENT, Field("姓名", "Name", 12), Field("任务", "What", 40),
        Field("期限", "Due", 12), Field("备注", "Remark", 14),
        Field("完成情况", "State", 24, True, (TASK_DONE, TASK_VOID)), Field("说明", "What was done", 40, True),
    ),
)  # fmt: skip
RECALLS: Final = Sheet(
    "撤回", "Recalls",
    (
        Field("撤回编号", "Recall", 34), Field("须删除", "Delete", 44), Field("期限", "Due", 12),
        Field("做法", "What to do", 60),
    ),
)  # fmt: skip
ENDED: Final = Sheet(
    "已终止转介", "Ended referrals",
    (Field("转介编号", "Referral", 34), Field("做法", "What to do", 60)),
)  # fmt: skip
STUDENTS: Final = Sheet("学生名单", "Students", (_STUDENT, Field("姓名", "Name", 12)))
ACTIVITIES: Final = Sheet(
    "家庭教育活动", "Activities",
    (
        Field("活动编号", "Your number", 18, True), Field("日期", "Day", 13, True, kind="day"),
        Field("类别", "Kind", 30, True, tuple(ACTIVITIES_BY_WORD)),
        Field("对象", "For", 16, True, tuple(AUDIENCES_BY_WORD)),
        Field("场次", "Times", 8, True, kind="count"), Field("人次", "Attendances", 12, True, kind="count"),
        Field("人数", "Persons", 10, True, kind="count"), Field("分钟", "Minutes", 10, True, kind="count"),
    ),
    grows=True,
)  # fmt: skip
VISITS: Final = Sheet(
    "走访与支持", "Visits and support",
    (
        Field("学生编号", "Student code", 31, True), Field("日期", "Day", 13, True, kind="day"),
        Field("类别", "Kind", 18, True, (VISIT, SUPPORT)), Field("情况", "What was seen or given", 44, True),
        Field("照料情况", "Care", 28, True), Field("家庭需求", "Need", 28, True),
        Field("已告知学校", "School told", 12, True, (YES, NO)),
        Field("下次走访", "Next visit", 13, True, kind="day"),
    ),
    grows=True,
)  # fmt: skip
BOOKS: Final = Sheet(
    "上月台账", "Last month's books",
    (
        Field("台账编号", "Your number", 18, True),
        Field("类别", "Kind", 18, True, (REFERRAL_RECORD, VISIT, SUPPORT, ACTIVITY_RECORD)),
        Field("学生编号", "Student code", 31, True), Field("转介编号", "Referral", 34, True),
        Field("月末办理", "At month's end", 16, True, (ACCEPT, DECLINE, DONE)),
        Field("日期", "Day", 13, True, kind="day"), Field("活动类别", "Activity", 30, True, tuple(ACTIVITIES_BY_WORD)),
        Field("场次", "Times", 8, True, kind="count"), Field("人次", "Attendances", 12, True, kind="count"),
        Field("人数", "Persons", 10, True, kind="count"),
    ),
    grows=True,
)  # fmt: skip
SUMMARY: Final = Sheet(
    "本月情况",
    "This month",
    (Field("期间", "Period", 12), Field("部分", "Part", 28), Field("有无", "Some or nil", 20, True, (SOME, NIL))),
)
ANSWERED: Final = (REFERRALS, TASKS, ACTIVITIES, VISITS, BOOKS, SUMMARY)
"""The sheets that are read back."""

HELP: Final = (
    "心桥每月工作簿 · XinQiao monthly workbook",
    "1. 只填白色格子；灰色格子由系统填写，已锁定。 Fill white cells only; grey ones are locked.",
    "2. 有下拉箭头的格子请从列表中选择，不要手写。 Where there is a drop-down, choose from it.",
    "3. 日期写成 2026-11-03 的样子。 Write days as 2026-11-03.",
    "4. 不要合并单元格，不要增删列，不要改表名、表头，不要用公式。 Do not merge cells, add or delete columns, rename sheets, "
    "change headers or use formulas.",
    "5. 没有活动或走访时，在“本月情况”选“无（零报告）”；空白表示还没有报。 With nothing to report choose Nil on the sheet "
    "of this month; a blank says that you have not reported yet.",
    "6. 学生只写学生编号，不写姓名以外的身份信息；不写诊断和咨询内容。 Name students by their code; write nothing clinical.",
    "7. 保存为 .xlsx，放入收件文件夹。更正时在文件名末尾加“-更正”再放。 Save as .xlsx and put it into the inbox; a correction "
    "goes under the same name with -更正 at its end.",
    "8. 有错的行会写在 errors 文件夹的“须修改”表中，改好后再放一次。 Rows that could not be taken come back in the folder "
    "errors; mend them and send them again.",
    "9. “上月台账”照贵单位自己的台账抄写上月各条，与系统核对；不一致的会退回。 The sheet of last month's books is what your "
    "own books say of it: it is compared, and what does not agree comes back.",
    "10. “撤回”表中的学生资料请立即删除，包括您自己保存的副本。 Delete at once what the sheet of recalls names, your own "
    "copies too.",
)

MEND: Final[dict[str, str]] = {
    "DATA/CODE": "请从下拉列表中选择，不要手写。",
    "DATA/DATE": "日期请写成 2026-11-03 的样子。",
    "DATA/MISSING": "这一格必须填写。",
    "DATA/NUMBER": "请填整数，不带单位和小数。",
    "DATA/NUMBER_RANGE": "数字太大或太小，请核对。",
    "DATA/TEXT": "文字太长或含不能用的字符，请改短。",
    "DATA/CHARSET": "文字中有看不见的特殊字符，请删去后重新输入。",
    "DATA/CELL_TOO_LONG": "文字太长，请改短。",
    "DATA/ID": "编号不对，请从名单或本表灰色格子中复制。",
    "DATA/ID_PRECISION": "数字位数太多已失真，请先把格子设为文本再填。",
    "DATA/DUPLICATE": "同一编号写了两次而内容不同，请保留一行。",
    "DATA/NIL": "“本月情况”与所填内容不一致：选了“无”却填了行，或选了“有”却没有行。",
    "DATA/HEADER": "表头缺列或被改动，请用原来的工作簿重新填写。",
    "DATA/SHEET": "少了一张表或表名被改动，请用原来的工作簿重新填写。",
    "DATA/EMPTY": "文件或表是空的，请用原来的工作簿重新填写。",
    "DATA/MERGED": "有合并的单元格，请取消合并。",
    "DATA/FORMULA": "有公式或链接，请改为数值（复制后选择性粘贴为值）。",
    "DATA/HIDDEN": "有隐藏的行、列或表，请取消隐藏或删去。",
    "DATA/FILE_TYPE": "不是 .xlsx 工作簿，请另存为 .xlsx（无密码、无宏）。",
    "DATA/MANIFEST": "文件与清单不符，请重新发送文件和清单。",
    "DATA/TOO_LARGE": "文件太大，请分开发送。",
    "DATA/ZIP_STRUCTURE": "文件已损坏或没有传完，请在 Excel 中打开检查后重新发送。",
    "DATA/XML": "文件已损坏，请在 Excel 中打开并另存后重新发送。",
    "DATA/FILE_NAME": "文件名不能用，请改用字母、数字、汉字和短横线，并以 .xlsx 结尾。",
    "STUDENT": "学校还没有把这名学生列入贵单位的关爱团队，请先与学校联系。",
    "DATA/INCOMPLETE": "上月台账有错行：台账须整份核对，请改好错行后再放一次。",
    "STUDENT_UNKNOWN": "系统中没有这个学生编号，请从名单中选择。",
    "REFERRAL_UNKNOWN": "没有这条转介，请核对转介编号。",
    "REFERRAL_OF_ANOTHER": "这条转介是另一名学生的，请核对转介编号和学生编号。",
    "STATE_DIFFERS": "月末办理情况与系统不同，请核对后改正有误的一方。",
    "ENTRY_UNKNOWN": "系统中没有这次走访或支持，请补报，或从台账中去掉。",
    "SERVICE_UNKNOWN": "系统中没有这项活动，请补报，或从台账中去掉。",
    "SERVICE_DIFFERS": "类别、日期或人数与所报不同，请核对后改正有误的一方。",
    "MISSING": "系统中有而台账中没有，请补上，或说明并无此事。",
    "FILE_CONFLICT": "同名文件已收过而内容不同；更正请在文件名末尾加“-更正”。",
}  # fmt: skip
MEND_ELSE: Final = "系统未能收下，请与网关管理员联系。"

CODE: Final = re.compile(r"[a-z2-7]{26}")
REFERRAL: Final = re.compile(r"referrals/[A-Za-z0-9_-]{1,64}")
TASK: Final = re.compile(r"tasks/[A-Za-z0-9_-]{1,64}")
NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,95}")
PERIOD: Final = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")
