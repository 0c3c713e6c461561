"""Texts about instruments and scoring."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "instruments": (
        "Screening instruments: list, check, show, score. Nothing is stored.",
        "筛查量表：列出、检查、查看、计分。不存储任何内容。",
    ),
    "instruments.list": (
        "List the instruments: licence, in use or not, and why not.\n\n"
        "\b\nExamples:\n  xinqiao instruments list\n  xinqiao instruments list --folder config/instruments --json",
        "列出量表：授权、是否启用、未启用的原因。\n\n"
        "\b\n示例：\n  xinqiao instruments list\n  xinqiao instruments list --folder config/instruments --json",
    ),
    "instruments.show": (
        "Show one instrument: scores, cut-offs, rules, sources.\n\n\b\nExample:\n  xinqiao instruments show PHQ-9",
        "查看一个量表：分数、界值、规则、来源。\n\n\b\n示例：\n  xinqiao instruments show PHQ-9",
    ),
    "instruments.check": (
        "List every problem of an instrument file or folder, with line and key; exits 78 when there is one.\n\n"
        "\b\nExample:\n  xinqiao instruments check my-instrument.yaml",
        "列出量表文件或文件夹的全部问题（含行号与键）；有问题时退出码为 78。\n\n"
        "\b\n示例：\n  xinqiao instruments check my-instrument.yaml",
    ),
    "instruments.schema": (
        "Print the JSON Schema of an instrument file, for editors.\n\n"
        "\b\nExample:\n  xinqiao instruments schema > instrument.schema.json",
        "输出量表文件的 JSON Schema，供编辑器使用。\n\n"
        "\b\n示例：\n  xinqiao instruments schema > instrument.schema.json",
    ),
    "instruments.score": (
        "Score answers, in item order, an unanswered item blank; exits 65 for answers it refuses.\n\n"
        "\b\nExamples:\n"
        "  xinqiao instruments score PHQ-9 --answers 2,1,,3,0,1,0,0,1 --json\n"
        "  xinqiao instruments score SCL-90 --coding 1-5 --sheet class.csv\n"
        "  cat class.csv | xinqiao instruments score GAD-7 --sheet - --missing NA,9 --json",
        "按题序计分，未答留空；被拒的答案退出码为 65。\n\n"
        "\b\n示例：\n"
        "  xinqiao instruments score PHQ-9 --answers 2,1,,3,0,1,0,0,1 --json\n"
        "  xinqiao instruments score SCL-90 --coding 1-5 --sheet class.csv\n"
        "  cat class.csv | xinqiao instruments score GAD-7 --sheet - --missing NA,9 --json",
    ),
    "arg.instrument": ("Instrument id, such as PHQ-9.", "量表编号，例如 PHQ-9。"),
    "arg.instrument_place": (
        "File or folder (default: config/instruments).",
        "文件或文件夹（默认 config/instruments）。",
    ),
    "opt.instrument_folder": ("Instrument files of this folder only.", "仅使用此文件夹中的量表文件。"),
    "opt.instrument_config": (
        "The gateway.yaml that names the instruments (default: config/gateway.yaml, else config/instruments).",
        "指明量表位置的 gateway.yaml（默认 config/gateway.yaml，否则 config/instruments）。",
    ),
    "opt.answers": ("The answers of one form, separated by commas.", "一份答卷的答案，以逗号分隔。"),
    "opt.sheet": (
        "A CSV sheet, a form per row; - for stdin. One column before the answers may name the form.",
        "CSV 表，每行一份；- 表示标准输入。答案列之前可有一列编号。",
    ),
    "opt.coding": ("How the answers are coded, such as 1-5 or 0-4.", "答案的编码方式，例如 1-5 或 0-4。"),
    "opt.missing": ("Codes that stand for no answer, such as NA,9.", "表示未答的代码，例如 NA,9。"),
    "opt.sheet_encoding": ("Encoding of the sheet: utf-8 or gb18030.", "表格编码：utf-8 或 gb18030。"),
    "opt.age": ("Age in years, to be warned when it does not fit.", "年龄；不适用时提醒。"),
    "opt.grade": ("School grade 1 to 12, to be warned when it does not fit.", "年级 1 至 12；不适用时提醒。"),
    "opt.informant": (
        "Who answered: self, parent, teacher, interviewer.",
        "作答者：self、parent、teacher、interviewer。",
    ),
    "instr.one_source": ("give either --answers or --sheet", "--answers 与 --sheet 须且只能给出一个"),
    "instr.unknown": ("no such instrument; there are {known}", "没有这个量表；现有 {known}"),
    "instr.is_off": ("{name} is not in use: {why}. Scored for you only.", "{name} 未启用：{why}。仅供查看计分。"),
    "instr.unsuited": ("{name} is for {fact} {allowed}", "{name} 适用{fact}：{allowed}"),
    "instr.no_lowest": (
        "no answer is the lowest of coding {coding}: make sure that these answers are in it",
        "没有任何答案为编码 {coding} 的最低值：请确认编码无误",
    ),
    "instr.sheet": ("{scored} scored, {refused} refused", "已计分 {scored} 份，拒绝 {refused} 份"),
    "instr.ANSWER_COUNT": (
        "{name} has {items} items, {got} answers came: give one per item, blank where unanswered",
        "{name} 有 {items} 题，收到 {got} 个答案：每题一个，未答留空",
    ),
    "instr.ANSWER_FORMAT": (
        "item {item} is not a whole number: mend it, leave it blank or name its code in --missing",
        "第 {item} 题不是整数：请改正、留空，或在 --missing 中列出其代码",
    ),
    "instr.ANSWER_RANGE": (
        "item {item} is outside {low} to {high}: give an answer of the scale, or name a code for no answer in --missing",
        "第 {item} 题超出 {low} 至 {high}：请给出量表内的答案，或在 --missing 中列出未答代码",
    ),
    "instr.CODING_REQUIRED": ("declare the coding: --coding, one of {codings}", "请声明编码：--coding，可选 {codings}"),
    "instr.CODING_UNKNOWN": ("no such coding; one of {codings}", "没有这种编码；可选 {codings}"),
    "instr.CODING_MISMATCH": (
        "form {row}, item {item} fits another coding only ({codings}): mend it or declare the other coding",
        "第 {row} 份第 {item} 题只符合另一种编码（{codings}）：请改正或声明另一种编码",
    ),
    "instr.NO_LOWEST": (
        "no answer of the whole sheet is the lowest of the declared coding: declare the other one of {codings}",
        "整张表没有任何答案为所声明编码的最低值：请声明 {codings} 中的另一种",
    ),
    "instr.NOT_SUITED": (
        "{name} is for {fact} {allowed} only: use another instrument",
        "{name} 仅适用于 {fact} {allowed}：请换用其他量表",
    ),
    "instr.ENCODING": (
        "the sheet is not CSV in {encoding}: declare it with --encoding",
        "此表不是 {encoding} 的 CSV：请用 --encoding 声明",
    ),
    "instr.why_licence": ("needs a licence, none is recorded", "须有授权，尚未登记"),
    "instr.why_memory": ("from memory, not confirmed: {facts}", "依据未经核实：{facts}"),
    "instr.why_switch": ("switched off", "未打开"),
    "instr.on": ("in use", "启用"),
    "instr.off": ("off", "未启用"),
    "instr.incomplete": ("incomplete", "未完成"),
    "instr.self": ("self", "本人"),
    "instr.parent": ("parent", "家长"),
    "instr.teacher": ("teacher", "教师"),
    "instr.interviewer": ("interviewer", "访谈者"),
    "instr.free": ("free", "可免费使用"),
    "instr.public_domain": ("public domain", "公有领域"),
    "instr.licence_required": ("licence required", "须授权"),
}
