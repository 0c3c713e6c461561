"""Texts about reports that leave the bureau."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "report": (
        "Make a report of a period that is over: figures and tables of fixed shape, small ones blank.\n\n"
        "\b\nExamples:\n"
        "  xinqiao report monthly --period 2026-10 --out reports\n"
        "  xinqiao report yearly --period 2025 --agency kunshan-aide --reported printed.csv --out reports\n"
        "  xinqiao report monthly --period 2026-10 --release      it is published: keep it",
        "生成已结束周期的报告：指标与表格形状固定，小数值不显示。\n\n"
        "\b\n示例：\n"
        "  xinqiao report monthly --period 2026-10 --out reports\n"
        "  xinqiao report yearly --period 2025 --agency kunshan-aide --reported printed.csv --out reports\n"
        "  xinqiao report monthly --period 2026-10 --release      正式发布并留存",
    ),
    "arg.report": (
        "monthly or yearly, or another of config/reports.",
        "monthly、yearly 或 config/reports 中的其他报告。",
    ),
    "opt.report_period": ("2026-10 for a month, 2025 for a year.", "月报如 2026-10，年报如 2025。"),
    "opt.report_agency": ("Figures of this agency's work only.", "仅统计该机构的工作。"),
    "opt.release": (
        "It is published: kept, so that no later release tells of whom by the difference.",
        "正式发布：留存，防止以后通过差值推断个人。",
    ),
    "opt.reported": (
        "CSV with columns metric and value: figures of a printed report, to be compared.",
        "含 metric、value 两列的 CSV：已印发报告的数值，用于比对。",
    ),
    "opt.report_out": ("Folder for HTML and PDF in both languages, and CSV.", "输出文件夹：中英文 HTML、PDF 及 CSV。"),
    "report.written": ("written to {folder}", "已写入 {folder}"),
    "report.columns": ("{file}: needs the columns metric and value", "{file}：须有 metric 和 value 两列"),
    "report.twice_given": (
        "{place}: this metric was given before; keep one row of each, such as one place's",
        "{place}：该指标重复；每个指标只保留一行，例如只留一个地区",
    ),
    "report.figure": ("Figure", "指标"),
    "report.value": ("Computed", "计算值"),
    "report.unit": ("Unit", "单位"),
    "report.reported": ("Reported", "报告值"),
    "report.difference": ("Difference", "差异"),
    "report.total": ("Total", "合计"),
    "report.persons": ("persons", "人"),
    "report.records": ("records", "份"),
    "report.figures": ("What was done", "工作指标"),
    "report.months": ("Month by month", "逐月情况"),
    "report.suppressed": (
        "– : from 1 to one less than {least}, or blank so that such a figure cannot be worked out.",
        "– ：1 至不足 {least} 的数值，或为防止推算出此类数值而不显示。",
    ),
    "report.least": ("figures about persons below {least} are blank", "人数不足 {least} 不显示"),
    "report.revision": ("release {number}", "第 {number} 次发布"),
    "report.twice": (
        "Persons of several activities were added: somebody may be in it twice.",
        "由多次活动的人数相加，可能有人被重复计入。",
    ),
    "report.not_computed": ("not computed", "不计算"),
}
