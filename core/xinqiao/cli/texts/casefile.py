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
    "overrides": (
        "Emergency accesses (break-glass): who saw what under which law, and the second person's decision.",
        "紧急访问：谁依据哪部法律看了什么，以及第二人的审批。",
    ),
    "overrides.list": (
        "List emergency accesses, newest first; the facts only with --json.\n\n"
        "\b\nExample:\n  xinqiao overrides list --as psych-chen",
        "列出紧急访问，最新在前；事由仅在 --json 中给出。\n\n\b\n示例：\n  xinqiao overrides list --as psych-chen",
    ),
    "overrides.decide": (
        "Approve an emergency access as a second person, or reject it: then what was seen is recalled. Due within 24 "
        "hours.\n\n"
        '\b\nExample:\n  xinqiao overrides decide overrides/0f3a --approve --note "as reported" --as psych-chen',
        "由第二人审批紧急访问；不予批准则召回所见信息。须在 24 小时内决定。\n\n"
        "\b\n示例：\n  xinqiao overrides decide overrides/0f3a --approve --note 情况属实 --as psych-chen",
    ),
    "overrides.decided": ("{name}: {state} ({law})", "已决定 {name}：{state}（{law}）"),
    "overrides.recalled": (
        "{name}: rejected; what was seen is recalled by {recall}",
        "{name}：未批准；所见信息由 {recall} 召回",
    ),
    "override.pending": ("waits for a second person", "待第二人审批"),
    "override.approved": ("approved", "已批准"),
    "override.rejected": ("rejected", "未批准"),
    "override.overdue": ("OVERDUE", "逾期未审批"),
    "recalls": (
        "Recalls: what recipients must delete or return after a consent was taken back.",
        "召回：同意撤回后，接收方须删除或退回的信息。",
    ),
    "recalls.list": (
        "List the recalls that your agency must answer, newest first.\n\n"
        "\b\nExample:\n  xinqiao recalls list --as grid-01",
        "列出本机构须答复的召回，最新在前。\n\n\b\n示例：\n  xinqiao recalls list --as grid-01",
    ),
    "recalls.show": (
        "Show what has become of a withdrawn consent: which recipients have answered, and what they did.\n\n"
        "\b\nExample:\n  xinqiao recalls show consents/0f3a --as psych-chen",
        "显示已撤回同意的办理进度：哪些接收方已答复、如何处理。\n\n"
        "\b\n示例：\n  xinqiao recalls show consents/0f3a --as psych-chen",
    ),
    "recalls.done": ("{name} without effect since {since}; all have answered", "{name} 自 {since} 起失效；均已答复"),
    "recalls.not_done": (
        "{name} without effect since {since}; not all have answered",
        "{name} 自 {since} 起失效；尚未全部答复",
    ),
    "arg.withdrawn": ("The consent that was withdrawn, consents/NAME.", "已撤回的同意，consents/名称。"),
    "recalls.close": (
        "Close a recall on other evidence, such as a letter, where the recipient cannot sign.\n\n"
        '\b\nExample:\n  xinqiao recalls close recalls/0f3a --did deleted --how "letter of 2026-11-02, no. 17" '
        "--as psych-chen",
        "接收方无法电子签名时，凭信函等其他证据办结召回。\n\n"
        "\b\n示例：\n  xinqiao recalls close recalls/0f3a --did deleted --how 2026-11-02来函17号 --as psych-chen",
    ),
    "recalls.closed": ("{name} is closed: {action}", "{name} 已办结：{action}"),
    "recall.open": ("open", "未答复"),
    "recall.delivered": ("delivered, not answered", "已送达，未答复"),
    "recall.confirmed": ("signed for", "已签名回执"),
    "recall.closed": ("closed on other evidence", "凭其他证据办结"),
    "teams": ("Care teams: who is in them until when, who must do what.", "关爱小组：成员及其期限、任务。"),
    "teams.list": (
        "List your care teams, newest first.\n\n\b\nExample:\n  xinqiao teams list --as psych-chen",
        "列出您的关爱小组，最新在前。\n\n\b\n示例：\n  xinqiao teams list --as psych-chen",
    ),
    "teams.show": (
        "Show a care team's members and tasks; what a task says only with --json.\n\n"
        "\b\nExample:\n  xinqiao teams show teams/0f3a --as psych-chen",
        "显示关爱小组的成员与任务；任务内容仅在 --json 中给出。\n\n"
        "\b\n示例：\n  xinqiao teams show teams/0f3a --as psych-chen",
    ),
    "teams.of": ("{name} of {school}: {state}", "{school} 的 {name}：{state}"),
    "arg.override": ("The emergency access, from `overrides list`.", "紧急访问名称，见 `overrides list`。"),
    "arg.recall": (
        "The recall, from `recalls show` or `overrides decide`.",
        "召回名称，见 `recalls show` 或 `overrides decide`。",
    ),
    "arg.team": ("The team, from `teams list`.", "小组名称，见 `teams list`。"),
    "opt.approve": ("It was right, or it was not.", "批准，或不予批准。"),
    "opt.note": (
        "Why, without any name: others can see a command line.",
        "理由，不写任何姓名：命令行可被他人看到。",
    ),
    "opt.did": (
        "What the recipient did: deleted, returned, kept-by-law, nothing-held.",
        "接收方的处理：deleted（已删除）、returned（已退回）、kept-by-law（依法留存）、nothing-held（未持有）。",
    ),
    "opt.how": ("Which evidence, without any name.", "凭何证据，不写任何姓名。"),
    "opt.citation": ("With kept-by-law: which law.", "依法留存时：哪部法律。"),
    "col.decided_by": ("decided by", "审批人"),
    "col.cause": ("after", "起因"),
    "col.action": ("what it did", "处理"),
    "col.ended": ("ended", "办结"),
    "col.student": ("student", "学生"),
    "col.members": ("members", "成员数"),
}
