"""Texts of the audit pack and the scope of a breach."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "audit": (
        "For auditors and for the day of a breach: the yearly pack, and whom a breach reaches.",
        "审计与泄露处置：年度审计材料、泄露范围。",
    ),
    "audit.pack": (
        "Put together the material of the yearly audit of minors' data: what is held, under which law, consents, "
        "approvals, incidents, disclosures, denials, deletions, agreements, drills.\n\n"
        "The folder gets CSV files, pack.json, index.html (Chinese and English) and manifest.json with the SHA-256 of "
        "each and the signed checkpoints it stands on. Counts only; small ones are hidden as "
        "config/policy/audit.yaml says. No student's key is opened.\n\n"
        "A row of the journal says who made it, written first. On SQLite a running gateway alone may write: beside it "
        "the pack is made all the same and says that it is not in the journal.\n\n"
        "Exit codes: 0 made, 65 made but the journal does not verify, or not made; others as of the program.\n\n"
        "\b\nExamples:\n"
        "  xinqiao audit pack --year 2026 --out audit-2026\n"
        "  xinqiao audit pack --year 2026 --out audit-2026 --as ops --json | jq .journal.sound",
        "汇编未成年人个人信息年度合规审计材料：存有什么、依据什么法律，以及同意、审批、事件、披露、拒绝、删除、协议、演练。\n\n"
        "文件夹内有 CSV 文件、pack.json、中英文 index.html，以及 manifest.json（各文件的 SHA-256 和所依据的签名检查点）。"
        "只有数量；小数目按 config/policy/audit.yaml 隐去。不打开任何学生的密钥。\n\n"
        "何人生成先记入日志。使用 SQLite 时只有运行中的网关可以写入：此时仍生成材料，并注明未记入日志。\n\n"
        "退出码：0 已生成，65 已生成但日志未通过核验、或未生成；其余同本程序。\n\n"
        "\b\n示例：\n"
        "  xinqiao audit pack --year 2026 --out audit-2026\n"
        "  xinqiao audit pack --year 2026 --out audit-2026 --as ops --json | jq .journal.sound",
    ),
    "audit.scope": (
        "Say how far a breach reaches: how many students, which partners, field classes, purposes and bases, from when "
        "to when, by what the journal says was shown.\n\n"
        "Narrow it by at least one option; together they must all hold. Exact counts, for the incident report; students' "
        "internal ids go into a file only. Run `xinqiao journal verify` first: it says whether the journal can be "
        "believed.\n\n"
        "Exit codes: 0 done, 64 usage, 65 not readable or no such certificate.\n\n"
        "\b\nExamples:\n"
        "  xinqiao audit scope --partner kunshan-mental-health --since 2026-11-01 --until 2026-11-07\n"
        "  xinqiao audit scope --serial 4f:1a:...:07 --students affected.csv\n"
        "  xinqiao audit scope --rows main/120000-180000 --database backup.db --json",
        "说明泄露的范围：按日志所载的披露，涉及多少学生、哪些伙伴、字段类别、目的和依据，自何时至何时。\n\n"
        "至少给出一个条件；多个条件须同时满足。为事件报告给出准确数量；学生的内部编号只写入文件。"
        "请先运行 `xinqiao journal verify`，确认日志可信。\n\n"
        "退出码：0 完成，64 用法，65 不可读或没有此证书。\n\n"
        "\b\n示例：\n"
        "  xinqiao audit scope --partner kunshan-mental-health --since 2026-11-01 --until 2026-11-07\n"
        "  xinqiao audit scope --serial 4f:1a:...:07 --students affected.csv\n"
        "  xinqiao audit scope --rows main/120000-180000 --database backup.db --json",
    ),
    "opt.year": ("The calendar year, in Beijing.", "年度（北京时间）。"),
    "opt.pack_out": ("A new or empty folder.", "新建的或空的文件夹。"),
    "opt.by": ("The operator who makes it; by default the first.", "由哪位运维管理员生成；默认第一位。"),
    "opt.read_only": ("Write no journal row, and say so in the pack.", "不写日志行，并在材料中注明。"),
    "opt.seen_by": ("What this agency or caller was shown.", "此机构或调用者看到的。"),
    "opt.actor": ("What went by this caller's hand alone.", "仅经此调用者之手的。"),
    "opt.serial": (
        "As --actor and the validity of a certificate, found by its serial.",
        "按证书序列号：等同于其 --actor 和有效期。",
    ),
    "opt.from": ("From this day or ISO 8601 moment on, Beijing.", "自此日或 ISO 8601 时刻起（北京时间）。"),
    "opt.until": ("Up to and with this day, or before this moment.", "至此日（含），或此时刻之前。"),
    "opt.rows": ("Rows of a chain: WRITER/FIRST-LAST.", "某条链的日志行：写入者/起-止。"),
    "opt.students": (
        "Write the internal ids, one line a student and recipient, to this new file; mode 0600.",
        "将内部编号写入此新文件，每名学生和接收方一行；权限 0600。",
    ),
    "audit.packed": (
        "{folder}: {count} files and {manifest}; open index.html",
        "{folder}：{count} 个文件和 {manifest}；请打开 index.html",
    ),
    "audit.journalled": ("in the journal as {row}", "已记入日志：{row}"),
    "audit.not_journalled.GATEWAY_RUNNING": (
        "NOT in the journal: a gateway is running on this store; stop it and make the pack again to have it on record",
        "未记入日志：网关正在使用此存储；如需留痕，请停止网关后重新生成",
    ),
    "audit.not_journalled.READ_ONLY": ("NOT in the journal, as asked", "按要求未记入日志"),
    "audit.no_operator": ("--as takes an operator: {names}", "--as 须为运维管理员：{names}"),
    "audit.nothing": (
        "narrow it: give --partner, --actor, --serial, --since, --until or --rows",
        "请给出条件：--partner、--actor、--serial、--since、--until 或 --rows",
    ),
    "audit.rows": ("--rows is WRITER/FIRST-LAST, such as main/100-2000", "--rows 形如 main/100-2000（写入者/起-止）"),
    "audit.day": ("a day is 2026-11-27, a moment 2026-11-27T14:30", "日期形如 2026-11-27，时刻形如 2026-11-27T14:30"),
    "audit.other_actor": ("that certificate is of {name}, not of --actor", "该证书属于 {name}，与 --actor 不符"),
    "audit.serial_unknown": (
        "no certificate here bears that serial (hexadecimal); find whose it is and give --actor with --since and --until",
        "此处没有该序列号（十六进制）的证书；请查明持有者，改用 --actor 及 --since、--until",
    ),
    "audit.reach": (
        "{students} students, {rows} disclosures, {first} to {last}",
        "涉及 {students} 名学生，{rows} 次披露，{first} 至 {last}",
    ),
    "audit.nameless": (
        "{count} of the disclosures name no student",
        "其中 {count} 次披露未载明学生",
    ),
    "audit.serial": (
        "the journal names callers, not certificates: this is all that this caller was shown while the certificate was "
        "valid, and so the most that it can have shown",
        "日志记载调用者而非证书：以上为该证书有效期内此调用者看到的全部，即该证书最多可能泄露的范围",
    ),
    "audit.students": ("students' internal ids: {file}", "学生内部编号：{file}"),
    "audit.col.students": ("students", "学生数"),
    "audit.col.rows": ("disclosures", "披露次数"),
    "audit.col.first": ("first", "最早"),
    "audit.col.last": ("last", "最晚"),
    "audit.partners": ("partner", "伙伴"),
    "audit.actors": ("caller", "调用者"),
    "audit.purposes": ("purpose", "目的"),
    "audit.classes": ("field class", "字段类别"),
    "audit.bases": ("basis", "依据"),
}
