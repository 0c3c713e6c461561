"""Texts about one student's case: shares, events, disclosures."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "case": (
        "One student's case: the plan, whom it is shared with, who saw what.",
        "一名学生的个案：方案、共享对象、谁看过什么。",
    ),
    "case.show": (
        "Show a case as you may see it, and what is kept back; the content of entries only with --json.\n\n"
        "\b\nExample:\n  xinqiao case show s-2041 --as psych-chen",
        "按您的权限显示个案及被扣留的内容；条目内容仅在 --json 中给出。\n\n"
        "\b\n示例：\n  xinqiao case show s-2041 --as psych-chen",
    ),
    "case.share": (
        "Share a case with a partner: for a purpose, for classes, for some days. It opens nothing that policy and "
        "consent do not open too.\n\n"
        "\b\nExample:\n  xinqiao case share s-2041 --to grid-01 --classes CASE_REF,IDENTITY,CARE_TASK --days 30 "
        "--reason WEEKLY_VISITS --as psych-chen",
        "向伙伴机构共享个案：限定目的、类别和天数；不会超出规则与同意书的范围。\n\n"
        "\b\n示例：\n  xinqiao case share s-2041 --to grid-01 --classes CASE_REF,IDENTITY,CARE_TASK --days 30 "
        "--reason WEEKLY_VISITS --as psych-chen",
    ),
    "case.revoke": (
        "Take a share, or a membership of a care team, back: nothing is read by it from then on.\n\n"
        "\b\nExample:\n  xinqiao case revoke shares/0f3a --reason NO_LONGER_NEEDED --as psych-chen",
        "收回共享或关爱小组成员资格：此后不再能据此查阅。\n\n"
        "\b\n示例：\n  xinqiao case revoke shares/0f3a --reason NO_LONGER_NEEDED --as psych-chen",
    ),
    "case.shares": (
        "List shares: to a school those it gave, to others those in force for them.\n\n"
        "\b\nExample:\n  xinqiao case shares --as psych-chen",
        "列出共享：学校看到所给出的，其他机构看到对其有效的。\n\n\b\n示例：\n  xinqiao case shares --as psych-chen",
    ),
    "case.events": (
        "List what happened in a case, newest first.\n\n\b\nExample:\n  xinqiao case events s-2041 --as psych-chen",
        "列出个案中发生的事项，最新在前。\n\n\b\n示例：\n  xinqiao case events s-2041 --as psych-chen",
    ),
    "case.disclosures": (
        "List every time at which fields of a student went to somebody: who, which, when, why, by what. Complete, from "
        "the journal.\n\n\b\nExample:\n  xinqiao case disclosures s-2041 --as psych-chen",
        "列出该学生信息的每一次披露：给谁、哪些类别、何时、为何、依据。取自日志，完整无缺。\n\n"
        "\b\n示例：\n  xinqiao case disclosures s-2041 --as psych-chen",
    ),
    "case.explain": (
        "Say, class by class, what a partner would see now, by which rule; with --against what another version of the "
        "policy would say.\n\n"
        "\b\nExample:\n  xinqiao case explain s-2041 --to grid-01 --purpose CARE --as psych-chen",
        "逐类说明伙伴机构此刻能看到什么、依据哪条规则；加 --against 可与另一版规则比较。\n\n"
        "\b\n示例：\n  xinqiao case explain s-2041 --to grid-01 --purpose CARE --as psych-chen",
    ),
    "arg.student": (
        "The student: students/NAME as this gateway names it to you, or the id in your own system; never an id card number.",
        "学生：本网关给您的 students/名称，或您自己系统中的编号；不得使用身份证号。",
    ),
    "arg.share": ("The share, from `case shares`.", "共享名称，见 `case shares`。"),
    "opt.share": ("By which share; the newest one if left out.", "依据哪个共享；缺省为最新的。"),
    "opt.to": ("Partner id of the recipient.", "接收机构的伙伴标识。"),
    "opt.share_classes": ("Classes of fields, as in CASE_REF,CARE_TASK.", "字段类别，如 CASE_REF,CARE_TASK。"),
    "opt.against": ("A kept version of the policy, to compare with.", "用于比较的已留存规则版本。"),
    "case.id_card": (
        "an id card number does not belong on a command line, where others can see it: use the id of your own system",
        "命令行可被他人看到，不得写身份证号：请使用您自己系统中的编号",
    ),
    "case.tier": ("tier {tier}; plan {plan}", "等级 {tier}；方案 {plan}"),
    "case.no_plan": ("none", "无"),
    "case.kept_back": ("kept back: {fields}", "未显示：{fields}"),
    "case.given": ("{name} until {until}", "{name}，有效至 {until}"),
    "case.not_now": ("named, but not open now: {fields}", "已列明但目前不开放：{fields}"),
    "case.taken_back": (
        "{name} is over; {count} open tasks went back to the school",
        "{name} 已终止；{count} 项未完成任务退回学校",
    ),
    "case.total": ("{count} disclosures", "共 {count} 次披露"),
    "case.differs": ("differs from {version}: {classes}", "与 {version} 不同的类别：{classes}"),
    "case.same": ("{version} says the same", "{version} 结果相同"),
    "step.review_plan": ("look at the plan again", "复核个案方案"),
    "step.do_task": ("do the task of the care team", "完成关爱小组任务"),
    "step.answer": ("answer the letter", "回复来信"),
    "step.answer_red": ("ANSWER THE RED LETTER", "立即处理红色来信"),
    "step.decide_unmask": ("decide whether to unmask the writer", "决定是否识别写信人"),
    "col.classes": ("classes", "类别"),
    "col.purpose": ("purpose", "目的"),
    "col.basis": ("by", "依据"),
    "col.day": ("day", "日期"),
    "col.author": ("author", "记录单位"),
    "col.resource": ("what", "对象"),
    "col.class": ("class", "类别"),
    "col.goes": ("goes", "可见"),
    "col.role": ("role", "角色"),
    "purpose.own": ("the school's own work", "学校自身工作"),
    "purpose.screening": ("screening and early finding", "筛查与早期发现"),
    "purpose.treatment": ("medical assessment and treatment", "医学评估与治疗"),
    "purpose.rescue": ("rescue", "紧急救助"),
    "purpose.care": ("support in family and community", "家庭与社区关爱"),
    "purpose.education": ("arrangements at school", "在校安排"),
    "purpose.reconciliation": ("reconciliation between agencies", "机构间对账"),
    "purpose.mandatory_report": ("mandatory report", "强制报告"),
    "purpose.operation": ("running the gateway", "网关运行"),
    "purpose.family_access": ("for the family itself", "家庭知情"),
    "class.aggregate": ("counts", "统计数字"),
    "class.case_ref": ("case numbers and states", "事项编号与状态"),
    "class.identity": ("identity", "身份信息"),
    "class.contact": ("contact", "联系方式"),
    "class.school": ("school and class", "学校与班级"),
    "class.tier": ("tier", "预警等级"),
    "class.scores": ("answers and scores", "量表作答与得分"),
    "class.referral_reason": ("reason of referral", "转介原因"),
    "class.diagnosis": ("diagnosis", "诊断"),
    "class.treatment": ("treatment and medication", "治疗与用药"),
    "class.crisis_fact": ("facts of a crisis", "危机事实"),
    "class.location": ("location", "所在位置"),
    "class.care_task": ("care tasks", "关爱任务"),
    "class.consent_evidence": ("record of consents", "同意记录"),
    "class.counselling_note": ("counselling notes", "心理咨询记录"),
    "class.letter": ("letters", "信件"),
    "action.deleted": ("everything was deleted", "已全部删除"),
    "action.returned": ("everything was returned, no copy kept", "已全部退回，未留副本"),
    "action.kept_by_law": ("kept as a law demands, used for nothing else", "依法留存，不作他用"),
    "action.nothing_held": ("it holds nothing", "未持有"),
}
