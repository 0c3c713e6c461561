"""Texts of `xinqiao access`."""

from typing import Final

TABLE: Final[dict[str, tuple[str, str]]] = {
    "access": (
        "Look at one record: ask, have a second person decide, look once.",
        "查阅单条记录：先申请，由第二人审批，凭令牌查阅一次。",
    ),
    "access.ask": (
        "Ask to look at the content of a dead delivery, or at all that is held of a student of your school. Prints the "
        "token: it opens nothing until a second person has approved, and then once.\n\n"
        "\b\nExamples:\n  xinqiao access ask deliveries/0f3a --reason REPAIR:ticket-4711\n"
        "  xinqiao access ask s-2041 --reason FAMILY_REQUEST:letter-12 --as psych-chen",
        "申请查阅一条无法投递的内容，或本校一名学生的全部记录。打印令牌：第二人批准前无效，批准后仅可使用一次。\n\n"
        "\b\n示例：\n  xinqiao access ask deliveries/0f3a --reason REPAIR:ticket-4711\n"
        "  xinqiao access ask s-2041 --reason FAMILY_REQUEST:letter-12 --as psych-chen",
    ),
    "access.list": (
        "List what you asked or may decide, newest first.\n\n\b\nExample:\n  xinqiao access list --open --as psych-chen",
        "列出您提出的或可由您审批的申请，最新在前。\n\n\b\n示例：\n  xinqiao access list --open --as psych-chen",
    ),
    "access.decide": (
        "Approve or refuse as the second person; never your own.\n\n"
        "\b\nExample:\n  xinqiao access decide accessRequests/0f3a --approve --reason TICKET_SEEN --as psych-chen",
        "以第二人身份批准或拒绝；不得审批本人的申请。\n\n"
        "\b\n示例：\n  xinqiao access decide accessRequests/0f3a --approve --reason TICKET_SEEN --as psych-chen",
    ),
    "access.show": (
        "Print the content of a dead delivery as JSON, as far as your role may see it. Spends the token.\n\n"
        "\b\nExample:\n  xinqiao access show deliveries/0f3a --reason REPAIR:ticket-4711",
        "以 JSON 打印无法投递的内容（限您的角色可见部分）。令牌随即失效。\n\n"
        "\b\n示例：\n  xinqiao access show deliveries/0f3a --reason REPAIR:ticket-4711",
    ),
    "access.export": (
        "Write all that is held of a student to a file, for the family that asked for it (PIPL art. 45): hand it over in "
        "person. Spends the token.\n\n"
        "\b\nExample:\n  xinqiao access export s-2041 --reason FAMILY_REQUEST:letter-12 --out s-2041.json --as psych-chen",
        "应家庭请求（个人信息保护法第四十五条）将一名学生的全部记录写入文件，请当面交付。令牌随即失效。\n\n"
        "\b\n示例：\n  xinqiao access export s-2041 --reason FAMILY_REQUEST:letter-12 --out s-2041.json --as psych-chen",
    ),
    "arg.look": (
        "What: deliveries/ID of a dead delivery, or a student, students/NAME or the id in your own system.",
        "对象：无法投递的 deliveries/编号，或学生（students/名称，或您自己系统中的编号）。",
    ),
    "arg.dead": ("The dead delivery, from `deliveries list --dead`.", "无法投递的事项，见 `deliveries list --dead`。"),
    "arg.access": ("The ask, from `access list`.", "申请名称，见 `access list`。"),
    "opt.look_reason": (
        "For what, as a word of access.yaml, and the reference: REPAIR:ticket-4711.",
        "用途（access.yaml 中的词）与依据编号，如 REPAIR:ticket-4711。",
    ),
    "opt.token": (
        "The token of `access ask`; asked for, or read from XINQIAO_ACCESS_TOKEN, so that no list of processes shows it.",
        "`access ask` 给出的令牌；按提示输入或取自 XINQIAO_ACCESS_TOKEN，以免出现在进程列表中。",
    ),
    "opt.open": ("Only those that wait for a decision.", "只列待审批的。"),
    "access.prompt": ("token", "令牌"),
    "access.asked": (
        "{name}: {holder} is asked to decide until {until}\ntoken: {token}\nShown this once; it opens nothing until approved.",
        "{name}：请 {holder} 在 {until} 前审批\n令牌：{token}\n令牌只显示这一次；批准前无效。",
    ),
    "access.approved": ("{name}: {asker} may look once until {until}", "{name}：{asker} 可在 {until} 前查阅一次"),
    "access.refused": ("{name}: refused", "{name}：已拒绝"),
    "access.withheld": ("kept back: {fields}", "未显示：{fields}"),
    "access.written": (
        "{file} holds {count} records, readable by you alone; {unreadable} could not be read",
        "{file} 含 {count} 条记录，仅您可读；{unreadable} 条无法读取",
    ),
    "step.decide_access": ("decide on a look at a record", "审批查阅申请"),
    "step.use_access": ("look, or let it end", "查阅或到期作废"),
    "col.asker": ("asked by", "申请人"),
}
