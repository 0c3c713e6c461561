"""What the page of a pack says, Chinese first: headings, columns, and how each table is to be read."""

from collections.abc import Mapping
from typing import Final

Both = tuple[str, str]

TEXTS: Final[Mapping[str, Both]] = {
    "title": ("未成年人个人信息合规审计材料", "Minors' personal data: audit pack"),
    "made": (
        "部署 {deployment}，由 {by} 于 {at}（北京时间）生成。依据《未成年人网络保护条例》第三十七条的年度合规审计。",
        "Deployment {deployment}, made by {by} at {at} Beijing time, for the yearly audit of the Regulation on the "
        "Protection of Minors in Cyberspace, art. 37.",
    ),
    "part_year": (
        "该年度尚未结束：所有数字截至 {at}。",
        "The year is not over: every figure is as of {at}.",
    ),
    "sound": (
        "存证日志已核验，完好：{rows} 行，{checkpoints} 个签名检查点，{uncheckpointed} 行尚未签入检查点。",
        "The journal verifies: {rows} rows, {checkpoints} signed checkpoints, {uncheckpointed} rows not yet signed.",
    ),
    "unsound": (
        "存证日志未通过核验（代码 {code}，{findings_total} 处问题）：以下由日志得出的数字不可采信。"
        "请运行 xinqiao journal verify。",
        "The journal does NOT verify (code {code}, {findings_total} findings): do not rely on what is counted from it "
        "below. Run xinqiao journal verify.",
    ),
    "journalled": (
        "生成本材料一事已记入日志：{row}。",
        "The making of this pack is in the journal: row {row}.",
    ),
    "not_journalled": (
        "生成本材料一事未记入日志（{why}）。",
        "The making of this pack is NOT in the journal ({why}).",
    ),
    "small": (
        "只有数量，没有姓名和学生编号。涉及学生的数量逐个向下取整为 {least} 的倍数，不足 {least} 的写作“<{least}”，"
        "以免由小数目或两数之差认出某个孩子；机构和系统行为的数量（法律依据、审批、事件、协议、演练）为准确数。",
        "Counts only, no name and no student's id. Counts that concern students are each rounded down to a multiple of "
        "{least}, and shown as \"<{least}\" below it, so that neither a small number nor a difference points to a child; "
        "acts of agencies and of the system (bases, approvals, incidents, agreements, drills) are exact.",
    ),
    "none": ("没有。", "None."),
    "checkpoints": (
        "每条日志链最新的签名检查点。任何人可凭公钥核对；伙伴回执中也有它们。",
        "The newest signed checkpoint of each chain. Anybody can check it with the public key; partners hold them too.",
    ),
}  # fmt: skip

TITLES: Final[Mapping[str, Both]] = {
    "months": ("各月披露行数", "Disclosure rows by month"),
    "inventory": ("个人信息清单", "Inventory of personal data"),
    "keys": ("密钥", "Keys"),
    "bases": ("本年度有效的法律依据", "Legal bases in force in the year"),
    "bases_cited": ("披露所引依据", "Bases that disclosures cite"),
    "consents": ("同意（按接收方类型和目的）", "Consents by recipient kind and purpose"),
    "consent_events": ("同意的办理", "What was done about consents"),
    "overrides": ("须审批的披露（含破窗访问）", "Disclosures that need approval, emergency access among them"),
    "approvals": ("审批人", "Approvals by person"),
    "incidents": ("事件", "Incidents"),
    "disclosures": ("披露（伙伴、目的、字段类别、依据）", "Disclosures by partner, purpose, field class and basis"),
    "recipients": ("接收方", "Recipients"),
    "denials": ("拒绝", "Denials"),
    "deletions": ("删除与保全", "Deletions and legal holds"),
    "agreements": ("保密协议", "Confidentiality agreements"),
    "drills": ("演练", "Drills"),
    "policies": ("所用共享策略版本", "Policy versions in use"),
    "checkpoints": ("日志检查点", "Checkpoints of the journal"),
}

NOTES: Final[Mapping[str, Both]] = {
    "inventory": (
        "生成时的存量。字段类别取自接口定义；内容以各学生的密钥加密。exchange_items、deliveries、journal 只引用学生。",
        "What is held as of the making. Classes are those the contract declares; content is sealed under each student's "
        "own key. exchange_items, deliveries and journal refer to students.",
    ),
    "keys": (
        "主体为学生，以及社工信箱。密钥销毁后其记录无法再读。",
        "Subjects are students, and mailboxes of the social workers. What a destroyed key sealed cannot be read again.",
    ),
    "bases": (
        "取自现行依据文件；签署者为其公钥的 SHA-256。年内更早的文件版本不在此列，见下表。",
        "From the file in force now; the signer is the SHA-256 of its public key. Earlier versions of the file within "
        "the year are not listed: see the next table.",
    ),
    "bases_cited": (
        "“consent-or-policy”为依同意或策略本身；“share”为个案共享。不在现行文件中的依据曾属更早的版本。",
        '"consent-or-policy" needed no basis beyond consent or the policy; "share" is a share of a case. A basis that is '
        "not in the file belonged to an earlier one.",
    ),
    "consents": (
        "年内记录的同意及其生成时的状态；EXPIRED_IN_YEAR 为年内到期。已按保存期限删除者不计。",
        "Consents recorded in the year with their state as of the making; EXPIRED_IN_YEAR ran out within it. Those "
        "erased since are not counted.",
    ),
    "consent_events": ("由日志统计。", "Counted from the journal."),
    "approvals": (
        "须由第二人在 24 小时内决定。“(nobody yet)”为尚未决定。",
        'A second person must decide within 24 hours. "(nobody yet)" is undecided.',
    ),
    "incidents": (
        "由日志统计。checkpoint.interrupted 为签名中断超过 4 小时的次数（期间常规外发停止）。日志被改动见页首核验结果。",
        "Counted from the journal. checkpoint.interrupted counts gaps in signing of over 4 hours, when routine sending "
        "stops. Tampering shows in the verification at the top.",
    ),
    "disclosures": (
        "一行日志含几个类别即在几行中计数。学校等查看本机构学生也在其中。",
        "A journal row counts once for each class it names. What schools see of their own students is among them.",
    ),
    "denials": (
        "原因只写网关自身的用语；其余以事件种类代替。未登记的接收方不写其名。",
        "Reasons are the gateway's own words only, elsewhere the kind of the row. A recipient that is not registered is "
        "not named.",
    ),
    "deletions": ("retention:* 为到期删除的记录数。", "retention:* counts records erased when their time had come."),
}  # fmt: skip

COLUMNS: Final[Mapping[str, Both]] = {
    "table": ("表", "table"), "records": ("记录数", "records"), "students": ("学生数", "students"),
    "classes": ("字段类别", "field classes"), "what": ("项目", "what"), "count": ("数量", "count"),
    "basis": ("依据", "basis"), "version": ("版本", "version"), "from": ("起", "from"), "to": ("止", "to"),
    "purposes": ("目的", "purposes"), "recipients": ("接收角色", "recipients"), "approver": ("须审批", "needs approval"),
    "notice_hours": ("告知时限（小时）", "notice due, hours"), "citation_zh": ("条文", "citation, zh"),
    "citation_en": ("条文（英）", "citation, en"), "signer": ("签署者", "signer"), "in_file": ("在现行文件中", "in the file"),
    "disclosures": ("披露行数", "disclosure rows"), "recipient_kind": ("接收方类型", "recipient kind"),
    "purpose": ("目的", "purpose"), "state": ("状态", "state"), "consents": ("同意数", "consents"),
    "event": ("事项", "event"), "recipient": ("接收方", "recipient"), "uses": ("次数", "uses"),
    "decided_by": ("决定人", "decided by"), "decided": ("决定数", "decided"), "in_24h": ("24 小时内", "within 24 h"),
    "late": ("逾期或未决", "late or open"), "approved": ("批准", "approved"), "rejected": ("驳回", "rejected"),
    "partner": ("伙伴", "partner"), "partner_kind": ("伙伴类型", "partner kind"), "class": ("字段类别", "field class"),
    "reason": ("原因", "reason"), "denials": ("拒绝次数", "denials"), "controller": ("处理者类型", "controller"),
    "number": ("编号", "number"), "outcome": ("结果", "outcome"), "with_people": ("真人参加", "with people"),
    "drills": ("演练次数", "drills"), "policy_version": ("策略版本", "policy version"), "rows": ("日志行数", "journal rows"),
}  # fmt: skip
