"""Texts about agencies: adapters, exchanges, deliveries."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "adapters": ("The agencies and the plugins that reach them.", "各机构及其适配器插件。"),
    "adapters.list": (
        "Ask a running gateway how its agencies are.\n\n\b\nExample:\n  xinqiao adapters list --json",
        "询问运行中的网关：各机构状态如何。\n\n\b\n示例：\n  xinqiao adapters list --json",
    ),
    "adapters.check": (
        "Load every installed plugin here, start each configured agency and ask it to answer. No gateway is needed.\n\n"
        "\b\nExample:\n  xinqiao adapters check --config config/gateway.yaml",
        "在本进程加载全部插件，启动每个已配置的机构并请它应答。不需要网关在运行。\n\n"
        "\b\n示例：\n  xinqiao adapters check --config config/gateway.yaml",
    ),
    "adapters.read": (
        "Read files as the adapter of this kind would, and store nothing: one line an item, accepted or refused, with "
        "reason and place. No gateway and no configuration is needed.\n\n"
        "Exit codes: 0 all accepted, 65 something refused, 66 a file cannot be read.\n\n"
        "\b\nExamples:\n"
        "  xinqiao adapters read school roster.zip scores.xlsx\n"
        "  xinqiao adapters read hospital task.json --json | jq -r 'select(.status == \"refused\") | .reason'\n"
        "  xinqiao adapters read school --settings config/gateway.yaml 七年级.csv",
        "按该类适配器的方式读取文件，不存储任何内容：每项一行，接收或拒收，并给出原因和位置。无需网关和配置。\n\n"
        "退出码：0 全部接收，65 有拒收，66 有文件无法读取。\n\n"
        "\b\n示例：\n"
        "  xinqiao adapters read school roster.zip scores.xlsx\n"
        "  xinqiao adapters read hospital task.json --json | jq -r 'select(.status == \"refused\") | .reason'\n"
        "  xinqiao adapters read school --settings config/gateway.yaml 七年级.csv",
    ),
    "arg.kind": ("Kind of adapter: the name of an installed plugin.", "适配器类型：已安装插件的名称。"),
    "arg.files": ("Files as the partner sent them.", "合作方发来的原始文件。"),
    "opt.settings": (
        "What stands under this adapter's `settings:`, or a gateway.yaml with one such agency; by default built in.",
        "该适配器 `settings:` 下的内容，或含一个此类机构的 gateway.yaml；默认用内置设置。",
    ),
    "read.no_kind": (
        "no plugin {kind} that reads files; there is: {kinds}",
        "没有可读取文件的插件 {kind}；现有：{kinds}",
    ),
    "read.agencies": (
        "{file} configures {count} agencies of kind {kind}; give the settings of one",
        "{file} 配置了 {count} 个 {kind} 类机构；请给出其中一个的设置",
    ),
    "read.unreadable": ("{file} cannot be read: {why}", "无法读取 {file}：{why}"),
    "read.total": (
        "{accepted} accepted ({noted} with a remark), {refused} refused, {unreadable} file(s) not readable; nothing stored",
        "接收 {accepted} 项（{noted} 项有提示），拒收 {refused} 项，{unreadable} 个文件无法读取；未存储任何内容",
    ),
    "read.accepted": ("accepted", "接收"),
    "read.refused": ("refused", "拒收"),
    "exchange": ("The periodic settling of books between two agencies.", "两个机构之间的定期对账。"),
    "exchange.list": (
        "List runs, newest first.\n\n\b\nExample:\n  xinqiao exchange list --limit 12",
        "列出各次运行，最新在前。\n\n\b\n示例：\n  xinqiao exchange list --limit 12",
    ),
    "exchange.run": (
        "Run an exchange for a period now. Running it again changes nothing.\n\n"
        "\b\nExample:\n  xinqiao exchange run school-hospital-monthly --period 2026-10",
        "立即运行某一期的对账。重复运行不会改变任何结果。\n\n"
        "\b\n示例：\n  xinqiao exchange run school-hospital-monthly --period 2026-10",
    ),
    "exchange.show": (
        "Show the runs of one exchange in full: totals, manifest, receipt.\n\n"
        "\b\nExample:\n  xinqiao exchange show school-hospital-monthly --period 2026-10",
        "完整显示某个对账的运行：合计、清单、回执。\n\n"
        "\b\n示例：\n  xinqiao exchange show school-hospital-monthly --period 2026-10",
    ),
    "exchange.preview": (
        "Show what a partner would get for a period, and how that differs from the last one. Nothing is sent.\n\n"
        "Of what the partner would see, you see what your own role may; that you looked is on record.\n\n"
        "\b\nExample:\n  xinqiao exchange preview school-hospital-monthly --period 2026-10",
        "显示某一期伙伴将收到的内容，以及与上一期的差异。不会发送任何内容。\n\n"
        "伙伴可见的内容中，仅显示您的角色可见的部分；查看会被记录。\n\n"
        "\b\n示例：\n  xinqiao exchange preview school-hospital-monthly --period 2026-10",
    ),
    "exchange.items": (
        "List the items of a run with what became of each: kept back, refused, failed, withdrawn, differing.\n\n"
        "\b\nExample:\n  xinqiao exchange items exchanges/school-hospital-monthly/runs/0f3a --all",
        "列出某次运行的各项及其结果：扣留、拒收、失败、撤回、不一致。\n\n"
        "\b\n示例：\n  xinqiao exchange items exchanges/school-hospital-monthly/runs/0f3a --all",
    ),
    "arg.run": ("Name of the run, from `exchange show`.", "运行的名称，见 `exchange show`。"),
    "opt.receiver": ("Only this receiving party.", "只看这一接收方。"),
    "opt.all_items": ("Also those that simply went.", "包括正常发送的项。"),
    "opt.amend": (
        "Also a period that both sides agreed about: it is sent again, and what may no longer be held is taken back.",
        "双方已对平的期间也可修订：重新发送，并撤回不应再持有的内容。",
    ),
    "preview.for": ("for {partner}:", "发给 {partner}："),
    "preview.barred": ("nothing at all could go now: {reason}", "目前不能发送任何内容：{reason}"),
    "preview.totals": (
        "new {new}, changed {changed}, same {same}, gone {gone}",
        "新增 {new}，变更 {changed}，相同 {same}，移出 {gone}",
    ),
    "preview.more": ("there is more: raise --limit", "还有更多：请调大 --limit"),
    "arg.exchange": ("Id of the exchange, as in the configuration.", "对账的标识，见配置。"),
    "opt.period": (
        "The month, week, quarter or term to settle, as in 2026-10, 2026-W41, 2026-Q3 or 2026-T1.",
        "要结算的月、周、季度或学期，如 2026-10、2026-W41、2026-Q3 或 2026-T1。",
    ),
    "opt.only_period": ("Only this period.", "只看这一期。"),
    "deliveries": ("What the gateway is handing over; never its content.", "网关正在投递的事项；不显示内容。"),
    "deliveries.list": (
        "List deliveries, newest first.\n\n\b\nExample:\n  xinqiao deliveries list --dead --json",
        "列出投递，最新在前。\n\n\b\n示例：\n  xinqiao deliveries list --dead --json",
    ),
    "opt.dead": ("Only those given up, which wait for a person.", "只看已放弃、等待人工处理的。"),
    "deliveries.retry": (
        "Put dead deliveries back in their lane, each under its old key.\n\n"
        "\b\nExample:\n  xinqiao deliveries retry deliveries/01J9Z",
        "将死信投递按原键放回队列。\n\n\b\n示例：\n  xinqiao deliveries retry deliveries/01J9Z",
    ),
    "arg.deliveries": ("Names from `deliveries list`.", "`deliveries list` 中的名称。"),
    "opt.revise": (
        "Give this disputed revision up and send the period again as a new one; needs --reason.",
        "放弃这一有争议的修订，将该期作为新修订重新发送；须附 --reason。",
    ),
    "exchange.revise_how": (
        "--revise REV and --reason WORD belong together, and --amend to them; `xinqiao exchange show` tells the revision",
        "--revise 与 --reason 须同时给出，--amend 须与其同用；修订号见 `xinqiao exchange show`",
    ),
    "exchange.open": (
        "not reconciled yet; the gateway goes on by itself",
        "尚未对平；网关会自行继续",
    ),
    "plugin.failed": ("plugin {name}: {why}", "插件 {name}：{why}"),
    "repairs": (
        "What you must mend, the most urgent first, each with the command or the key that mends it.\n"
        "Ends with 75 when something does not work now.\n\n"
        "\b\nExample:\n  xinqiao repairs --config config/gateway.yaml",
        "需要处理的事项，最紧急的在前，并注明处理命令或配置项。\n有功能当前不可用时退出码为 75。\n\n"
        "\b\n示例：\n  xinqiao repairs --config config/gateway.yaml",
    ),
    "repairs.none": ("nothing to mend", "无需处理的事项"),
    "repairs.severity": ("urgency", "紧急程度"),
    "repairs.subject": ("about", "对象"),
    "repairs.since": ("since", "起始时间"),
    "repairs.message": ("what is wrong", "问题"),
    "repairs.mend": ("mend it with", "处理方法"),
    "severity.1": ("notice", "提示"),
    "severity.2": ("warning", "警告"),
    "severity.3": ("ERROR", "错误"),
    "adapters.ok": ("all agencies answer", "所有机构均已应答"),
    "adapters.bad": ("{count} plugins or agencies do not work", "{count} 个插件或机构不可用"),
    "adapters.summary": (
        "{deployment} {version}, policy {policy}: {holdings} open items, {overdue} overdue",
        "{deployment} {version}，策略 {policy}：{holdings} 个未结事项，{overdue} 个逾期",
    ),
    "status": (
        "Show on one screen how all agencies, exchange runs, open items and repairs stand: what is stuck, with whom, until "
        "when. With --watch it goes on until Ctrl-C.\n"
        "Ends with 75 when something does not work now.\n\n"
        "\b\nExamples:\n  xinqiao status --config config/gateway.yaml\n  xinqiao status --watch",
        "在一屏内显示各机构、对账、未结事项和待处理事项：卡在哪里、由谁负责、何时到期。加 --watch 持续刷新，按 Ctrl-C 结束。\n"
        "有功能当前不可用时退出码为 75。\n\n"
        "\b\n示例：\n  xinqiao status --config config/gateway.yaml\n  xinqiao status --watch",
    ),
    "opt.watch": ("Go on showing it, anew every few seconds.", "持续显示，每隔几秒刷新。"),
    "opt.every": ("Seconds between two looks.", "刷新间隔，秒。"),
    "status.one": (
        "--watch is for people, --json for programs: give one of them",
        "--watch 供人查看，--json 供程序使用：请只选其一",
    ),
    "status.head": ("{deployment} {version}, policy {policy}", "{deployment} {version}，策略 {policy}"),
    "status.open": ("{count} open", "未结 {count}"),
    "status.overdue": (" {count} overdue ", " 逾期 {count} "),
    "status.lane_routine": ("to send", "待投递"),
    "status.lane_crisis": ("CRISIS to send", "危机待投递"),
    "status.lost": (
        " what stands below is old, the gateway is looked for again: {why} ",
        " 以下内容已过时，正在重新连接网关：{why} ",
    ),
    "status.agencies": ("AGENCIES", "机构"),
    "status.runs": ("EXCHANGES", "对账"),
    "status.holdings": ("OPEN ITEMS", "未结事项"),
    "status.repairs": ("TO MEND", "待处理"),
    "status.more": ("{count} more: {command}", "另有 {count} 项：{command}"),
    "status.sent": ("{sent} of {selected}", "{sent}／{selected} 项"),
    "status.late": ("late {time}", "逾期 {time}"),
    "status.left": ("in {time}", "还有 {time}"),
    "status.for": ("for {time}", "已 {time}"),
    "agency.0": ("unknown", "未知"),
    "agency.1": ("ready", "正常"),
    "agency.2": ("retrying", "重试中"),
    "agency.3": ("FAILED", "故障"),
    "agency.4": ("paused", "维护"),
    "agency.5": ("off", "停用"),
    "run.0": ("unknown", "未知"),
    "run.1": ("planned", "已排期"),
    "run.2": ("frozen", "已固定"),
    "run.3": ("sending", "发送中"),
    "run.4": ("no receipt", "待回执"),
    "run.5": ("reconciled", "已对平"),
    "run.6": ("INCOMPLETE", "不符"),
    "run.7": ("given up", "已放弃"),
}
