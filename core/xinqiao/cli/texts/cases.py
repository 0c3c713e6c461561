"""Texts about cases: holdings, drills, signals, expected reports, triage packs."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "holdings": (
        "Who holds what, until when; overdue first.\n\n\b\nExample:\n  xinqiao holdings --as psych-chen",
        "谁持有什么事项，到何时；逾期在前。\n\n\b\n示例：\n  xinqiao holdings --as psych-chen",
    ),
    "retention": (
        "How long each kind of record is kept, and how old the oldest one held is.\n\n"
        "\b\nExample:\n  xinqiao retention --as bureau-admin",
        "各类记录保存多久，现存最早的一条是何时的。\n\n\b\n示例：\n  xinqiao retention --as bureau-admin",
    ),
    "retention.holds": (
        "rules {version}; {count} legal holds. What is past its time is of students with something open, or goes at the "
        "next daily erasing.",
        "规则 {version}；依法保全 {count} 项。已过期的属于仍有未结事项的学生，或在下次每日清除时删除。",
    ),
    "since.created": ("created", "创建之日"),
    "since.changed": ("last change", "最后变更"),
    "since.ended": ("end of term", "期满之日"),
    "since.left": ("leaving", "离校之日"),
    "holdings.close": (
        "Close by hand an item that no other call closes: a sheet that was mended under another name, a dead delivery "
        "that will not be put back, books that people agreed about, what was open for an erased student.\n\n"
        "\b\nExample:\n  xinqiao holdings close intake/school/0f3a --reason MENDED_ELSEWHERE",
        "手工关闭无法由其他调用关闭的事项：以别名补正的表、不再放回的死信、已商定的台账差异、已清除学生的遗留事项。\n\n"
        "\b\n示例：\n  xinqiao holdings close intake/school/0f3a --reason MENDED_ELSEWHERE",
    ),
    "arg.item": ("The item, from `holdings`.", "`holdings` 中的事项。"),
    "opt.reason": (
        "Why, as an UPPER_SNAKE word and perhaps a reference, as in PHONE_AGREED:ticket-4711; never a name.",
        "原因：大写下划线单词，可附编号，如 PHONE_AGREED:ticket-4711；不得写姓名。",
    ),
    "signals": ("What people noticed.", "人们报告的信号。"),
    "signals.list": (
        "List signals, those nobody has taken first; what was seen is never printed in the table.\n\n"
        "An operator sees that signals wait, not what, of what kind or by whom.\n\n"
        "\b\nExample:\n  xinqiao signals list --as psych-chen",
        "列出信号，无人接手的在前；表中从不显示所见内容。\n\n"
        "运维管理员只看到有信号待处理，看不到内容、类型和来源。\n\n"
        "\b\n示例：\n  xinqiao signals list --as psych-chen",
    ),
    "cadence": ("Reports that are expected, and those that did not come.", "应报告的事项，以及未按时报告的事项。"),
    "cadence.list": (
        "List which reports the district expects from whom, and how far its calendar reaches.\n\n"
        "\b\nExample:\n  xinqiao cadence list --config config/gateway.yaml",
        "列出本区县要求谁报告什么、多久一次，以及校历的有效范围。\n\n"
        "\b\n示例：\n  xinqiao cadence list --config config/gateway.yaml",
    ),
    "cadence.due": (
        "List reports that have not come, the earliest due first.\n\n"
        "\b\nExample:\n  xinqiao cadence due --as psych-chen",
        "列出尚未收到的报告，最早到期的在前。\n\n\b\n示例：\n  xinqiao cadence due --as psych-chen",
    ),
    "cadence.none": (
        "no report is expected: the district overlay names no cadence",
        "未设应报事项：区县配置没有 cadence",
    ),
    "cadence.until": ("the school calendar reaches to {day}", "校历有效至 {day}"),
    "cadence.guessed": (
        "? the holidays of that year are not known yet: Monday to Friday are taken as working days",
        "? 该年放假安排尚未公布：暂按周一至周五为工作日",
    ),
    "cadence.guessed_year": (
        "the holidays of {year} are not known yet: Monday to Friday are taken; add them to the calendar",
        "{year} 年放假安排未知：暂按周一至周五为工作日；请补充到校历",
    ),
    "opt.all_reports": ("Also those that have come.", "也列出已收到的。"),
    "report.due": ("due", "未到期"),
    "report.missed": ("missed", "逾期未报"),
    "report.received": ("received", "已收到"),
    "every.day": ("daily", "每日"),
    "every.half_week": ("twice a week", "每周两次"),
    "every.week": ("weekly", "每周"),
    "every.month": ("monthly", "每月"),
    "every.term": ("each term", "每学期"),
    "every.school_year": ("each school year", "每学年"),
    "triage": ("Rule packs, which propose tiers.", "分级规则包，用于建议等级。"),
    "triage.check": (
        "Check a rule pack against the configured instruments, and print its levels.\n\n"
        "\b\nExample:\n  xinqiao triage check config/triage/three-colours.yaml",
        "对照所配置的量表检查规则包，并显示其等级。\n\n"
        "\b\n示例：\n  xinqiao triage check config/triage/three-colours.yaml",
    ),
    "triage.shadow": (
        "Run a rule pack over the stored forms and count what would have been proposed; no tier changes.\n\n"
        "Runs on the node, which has the keys, also beside a running gateway. The journal says that it was done.\n\n"
        "\b\nExample:\n  xinqiao triage shadow config/triage/three-colours.yaml --since 2026-09-01",
        "用规则包试算已存的量表，统计会得出的等级；不改变任何等级。\n\n"
        "在持有密钥的节点上运行，网关运行时也可。日志会记录此次处理。\n\n"
        "\b\n示例：\n  xinqiao triage shadow config/triage/three-colours.yaml --since 2026-09-01",
    ),
    "arg.pack": ("The rule pack, YAML.", "规则包（YAML）。"),
    "opt.since": ("Only forms stored from this day on.", "只看这一天起存入的量表。"),
    "triage.bad_day": ("--since is a day such as 2026-09-01", "--since 是日期，如 2026-09-01"),
    "triage.ok": ("{file}: {pack}, {count} rules, nothing wrong", "{file}：{pack}，{count} 条规则，没有问题"),
    "triage.reading": ("reading stored forms", "读取已存量表"),
    "triage.summary": (
        "{pack} over {forms} forms: {changed} would have another tier, {red} newly red. Nothing was changed.",
        "{pack} 试算 {forms} 份：{changed} 份等级会不同，其中 {red} 份新判为红色。未作任何更改。",
    ),
    "triage.unread": ("{count} forms not counted: {reason}", "{count} 份未计入：{reason}"),
    "triage.no_longer_red": (
        "{count} forms that were red would not have been: look at the rules before switching this pack on",
        "{count} 份原为红色的不再是红色：启用前请检查规则",
    ),
    "tier.4": ("RED", "红色"),
    "tier.3": ("ORANGE", "橙色"),
    "tier.2": ("YELLOW", "黄色"),
    "tier.1": ("GREEN", "绿色"),
    "step.acknowledge": ("acknowledge", "响应"),
    "step.confirm": ("confirm the tier", "确认等级"),
    "step.resolve": ("settle the signal", "处置信号"),
    "step.guardian": ("tell a guardian", "告知监护人"),
    "step.notify": ("notify of the disclosure", "补充告知"),
    "step.send": ("send", "发送"),
    "step.refer": ("refer on", "转介"),
    "step.hold": ("look at the hold again", "复核保全"),
    "step.receive": ("confirm receipt", "确认收到"),
    "step.accept": ("accept or refuse", "接收或退回"),
    "step.outcome": ("report the outcome", "反馈结果"),
    "step.close": ("close", "结案"),
    "step.phone": ("TELEPHONE", "立即电话"),
    "step.recall": ("delete what was recalled", "删除收回的信息"),
    "step.approve": ("decide on the emergency access", "审批紧急访问"),
    "step.renew": ("renew the agreement", "续签保密协议"),
    "step.deliver": ("deliver", "投递"),
    "step.mend": ("mend the data", "更正数据"),
    "step.identify": ("find out who it is", "查明当事学生"),
    "step.refused": ("mend what was refused: {why}", "更正被退回的条目：{why}"),
    "step.package_awaited": ("send the books of the month", "报送本期数据包"),
    "step.package_missing": ("ask where the package is", "催报逾期数据包"),
    "step.planned": ("start the run", "启动本期对账"),
    "step.snapshot": ("freeze the items", "固定对账条目"),
    "step.sending": ("send the package", "发送数据包"),
    "step.await_receipt": ("sign the receipt", "签署回执"),
    "step.ask": ("ask why none came", "追问未报原因"),
    "step.serve": ("serve the notice", "送达告知书"),
    "step.present": ("have a hospital see it", "跟进持告知书就诊"),
    "step.assess": ("professional assessment", "专业评估"),
    "step.talk": ("talk with the family", "家校沟通"),
    "step.apply": ("application for leave", "申请休学"),
    "step.start": ("begin the leave", "开始休学"),
    "step.return": ("materials for return", "提交复学材料"),
    "step.review": ("review the materials", "审核复学材料"),
    "step.panel": ("assess the return", "复学综合评估"),
    "step.decide": ("decide", "作出决定"),
    "step.check": ("check after the return", "复学后回访"),
    "step.appeal": ("wait for an appeal", "等待申诉"),
    "step.decide_appeal": ("decide the appeal", "处理申诉"),
    "step.take_over": ("take the plan over", "接手复学方案"),
    "step.extend-calendar": ("extend the calendar", "延长校历"),
    "drill.step.signal": ("signal raised", "发出信号"),
    "drill.step.acknowledge": ("acknowledged", "响应"),
    "drill.step.refer": ("referral created", "建立转介"),
    "drill.step.release": ("released", "放行"),
    "drill.step.deliver": ("delivered", "送达"),
    "drill.step.receive": ("received", "对方收到"),
    "drill.state.1": ("running", "进行中"),
    "drill.state.2": ("PASSED", "达标"),
    "drill.state.3": ("MISSED", "未达标"),
    "drill": ("Drills of the crisis lane.", "危机通道演练。"),
    "drill.run": (
        "Run a drill: a red case that is none, through the real adapters, marked DRILL at every step; print its times."
        "\n\nEnds with 1 when a target was missed.\n\n\b\nExample:\n  xinqiao drill run --school 3205830001",
        "开展演练：以非真实红色个案走真实通道，每一步均标明“演练”，并打印各步用时。\n\n未达标时退出码为 1。"
        "\n\n\b\n示例：\n  xinqiao drill run --school 3205830001",
    ),
    "drill.list": (
        "Drills there have been, newest first.\n\n\b\nExample:\n  xinqiao drill list",
        "历次演练，最近的在前。\n\n\b\n示例：\n  xinqiao drill list",
    ),
    "drill.show": (
        "The timed report of one drill.\n\n\b\nExample:\n  xinqiao drill show drills/ID",
        "某次演练的计时报告。\n\n\b\n示例：\n  xinqiao drill show drills/ID",
    ),
    "opt.school": ("School code; the first one if left out.", "学校标识码；缺省为第一所。"),
    "opt.hospital": ("Hospital to reach; the first crisis channel if left out.", "目标医院；缺省为第一危机渠道。"),
    "opt.people": ("Only raise the signal: people do the rest.", "只发出信号，其余由人员完成。"),
    "arg.drill": ("Name of the drill, drills/ID.", "演练名称，drills/ID。"),
    "drill.title": (
        "DRILL {name} at school {school}: {state} (nobody was in danger)",
        "演练 {name}，学校 {school}：{state}（无学生处于危险之中）",
    ),
    "drill.waiting": (
        "Drill {name} is under way; its report: xinqiao drill show {name}",
        "演练 {name} 进行中；查看报告：xinqiao drill show {name}",
    ),
    "drill.mark": ("DRILL", "演练"),
    "telephone": (
        "TELEPHONE NOW: {count} emergencies that no hospital has confirmed. {numbers}",
        "立即电话：{count} 件紧急转介尚无医院确认。{numbers}",
    ),
}
