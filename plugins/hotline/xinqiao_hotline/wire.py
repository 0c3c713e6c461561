"""The wire format as data: columns of a call record, the words of its codes, and what each means to the gateway."""

from typing import Final

from xinqiao.adapters.files import Column
from xinqiao.api.screening.v1 import screening_pb2 as screening

CALLS: Final = (
    Column("call", ("通话编号",)),
    Column("line", ("线路",)),
    Column("started", ("接通时间",)),
    Column("ended", ("结束时间",)),
    Column("topic", ("事由",)),
    Column("caller", ("来电人",), required=False),
    Column("outcome", ("处置",), required=False),
    Column("student", ("学生编号",), required=False),
    Column("school", ("学校代码",), required=False),
    Column("name", ("姓名",), required=False),
    Column("birth_date", ("出生日期",), required=False),
    Column("phone", ("电话",), required=False),
    Column("class_title", ("年级班级",), required=False),
    Column("location", ("所在位置",), required=False),
    Column("location_basis", ("定位依据",), required=False),
    Column("hand_off", ("请110接入",), required=False),
    Column("origin_number", ("来电号码",), required=False),
    Column("agreed", ("来电人同意",), required=False),
    Column("task", ("回访任务",), required=False),
    Column("closed", ("闭环",), required=False),
    Column("summary", ("摘要",), required=False),
)
"""A call a row. ``call`` is the line's own number of it; a call that was put through to another line keeps its number."""

CALLBACKS: Final = ("任务编号", "学生编号", "姓名", "监护人", "电话", "内容", "期限", "状态")
"""The sheet of call-backs the centre gets."""

TOPICS: Final[dict[str, int]] = {
    "none": screening.SIGNAL_KIND_UNSPECIFIED,
    "concern": screening.SIGNAL_KIND_CONCERN,
    "suicidal": screening.SIGNAL_KIND_SUICIDAL,
    "self_harm": screening.SIGNAL_KIND_SELF_HARM,
    "violence": screening.SIGNAL_KIND_VIOLENCE,
    "abuse": screening.SIGNAL_KIND_ABUSE,
    "other": screening.SIGNAL_KIND_OTHER,
}
"""What a call was about. ``none`` is a call about nothing that anybody must hear of: it is only counted."""

TOPIC_WORDS: Final = {
    "咨询": "none", "骚扰": "none", "误拨": "none", "无": "none", "情绪困扰": "concern", "关注": "concern", "轻生": "suicidal",
    "自杀": "suicidal", "自伤": "self_harm", "暴力": "violence", "欺凌": "violence", "侵害": "abuse", "家暴": "abuse",
    "其他危险": "other", **{word: word for word in TOPICS},
}  # fmt: skip

CALLERS: Final = {
    "unknown": "未说明", "self": "本人", "parent": "家长", "teacher": "教师", "peer": "同学", "other": "其他人",
}  # fmt: skip
"""Who called, and how the gateway's words say it."""

CALLER_WORDS: Final = {
    "监护人": "parent", "父亲": "parent", "母亲": "parent", "老师": "teacher", "朋友": "peer",
    **{said: word for word, said in CALLERS.items()}, **{word: word for word in CALLERS},
}  # fmt: skip

BASES: Final[dict[str, int]] = {
    "unknown": screening.LOCATION_BASIS_UNSPECIFIED,
    "gnss": screening.LOCATION_BASIS_GNSS,
    "cell": screening.LOCATION_BASIS_CELL,
    "fixed_line": screening.LOCATION_BASIS_FIXED_LINE,
    "registered": screening.LOCATION_BASIS_REGISTERED,
    "caller": screening.LOCATION_BASIS_CALLER,
}
"""On what the place of a caller rests."""

BASIS_WORDS: Final = {
    "未知": "unknown", "卫星": "gnss", "基站": "cell", "固话": "fixed_line", "登记地址": "registered", "来电人自述": "caller",
    **{word: word for word in BASES},
}  # fmt: skip

OUTCOMES: Final = {
    "none": "未记录处置", "counselled": "已疏导", "to_110": "已转110", "to_120": "已转120", "to_hospital": "已建议就医",
    "to_line": "已转其他热线", "callback": "约定回访", "broken_off": "通话中断", "not_reached": "未接通",
}  # fmt: skip
"""What the line did."""

OUTCOME_WORDS: Final = {
    "疏导": "counselled", "转110": "to_110", "转120": "to_120", "转介就医": "to_hospital", "转线": "to_line", "回访": "callback",
    "中断": "broken_off", **{said: word for word, said in OUTCOMES.items()}, **{word: word for word in OUTCOMES},
}  # fmt: skip

TOPIC_SAID: Final = {
    "concern": "情绪困扰", "suicidal": "轻生言行", "self_harm": "自伤", "violence": "暴力或欺凌", "abuse": "疑似受侵害",
    "other": "其他危险", "none": "一般咨询",
}  # fmt: skip
