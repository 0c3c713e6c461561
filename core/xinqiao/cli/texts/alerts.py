"""Texts about reports of a child who is only described."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "alerts": (
        "Reports about a child who is only described: find out who it is, pass it on, or close it.",
        "仅有描述、尚未确认身份的来电来件：确认是谁、转给他校或关闭。",
    ),
    "alerts.list": (
        "List them, the newest first.\n\n\b\nExample:\n  xinqiao alerts list --as psych-chen",
        "列出，最新的在前。\n\n\b\n示例：\n  xinqiao alerts list --as psych-chen",
    ),
    "alerts.identify": (
        "Say which student it is about; from then on it is a signal like any other.\n\n"
        "\b\nExamples:\n"
        "  xinqiao alerts identify alerts/ID students/NAME --as psych-chen\n"
        "  xinqiao alerts identify alerts/ID 20230117 --as psych-chen",
        "确认是哪名学生；此后按普通信号处理。\n\n"
        "\b\n示例：\n"
        "  xinqiao alerts identify alerts/ID students/NAME --as psych-chen\n"
        "  xinqiao alerts identify alerts/ID 20230117 --as psych-chen",
    ),
    "alerts.pass": (
        "Pass it on to another school; without --school, close it. Its deadline stays.\n\n"
        "\b\nExample:\n  xinqiao alerts pass alerts/ID --school 3205830002 --reason NOT_OUR_STUDENT --as psych-chen",
        "转给另一所学校；不写 --school 则关闭。时限不变。\n\n"
        "\b\n示例：\n  xinqiao alerts pass alerts/ID --school 3205830002 --reason NOT_OUR_STUDENT --as psych-chen",
    ),
    "arg.alert": ("alerts/ID, as listed.", "alerts/ID，见列表。"),
    "arg.alert_student": ("students/NAME, or the school's own id.", "students/NAME，或学校自己的学生编号。"),
    "opt.alert_school": ("School code it goes to.", "转往学校的代码。"),
    "alerts.identified": ("{alert} is {signal} now", "{alert} 已成为 {signal}"),
    "alerts.passed": ("{alert} went to {school}", "{alert} 已转给 {school}"),
    "alerts.closed": ("{alert} is closed", "{alert} 已关闭"),
    "col.alert": ("alert", "警情"),
    "col.described": ("described as", "描述"),
    "col.facts": ("facts", "事实"),
    "col.candidates": ("may be", "可能是"),
}
