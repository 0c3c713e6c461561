"""What the command line says, in English and Chinese: one table, one function."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

Language = Literal["en", "zh"]


def choose(arguments: Sequence[str], environment: Mapping[str, str]) -> Language:
    """The language asked for: ``--lang``, then XINQIAO_LANG, then the locale; Chinese when it starts with zh."""
    for index, argument in enumerate(arguments):
        if argument == "--lang" and index + 1 < len(arguments):
            return _language(arguments[index + 1])
        if argument.startswith("--lang="):
            return _language(argument.removeprefix("--lang="))
    for name in ("XINQIAO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return _language(value)
    return "en"


def _language(word: str) -> Language:
    return "zh" if word.lower().startswith("zh") else "en"


class Texts:
    """The texts of one language."""

    def __init__(self, language: Language) -> None:
        self.language: Final = language
        self._column = 0 if language == "en" else 1

    def __call__(self, key: str, **values: object) -> str:
        """The text called ``key`` with ``values`` filled in. Raises KeyError for a key that is not in the table."""
        text = TABLE[key][self._column]
        return text.format(**values) if values else text


TABLE: Final[Mapping[str, tuple[str, str]]] = {
    # -- help ---------------------------------------------------------------------------------------------------------
    "app": (
        "XinQiao: the gateway between the agencies around a school student in trouble.\n\n"
        "\b\nFirst steps:\n"
        "  xinqiao demo                                        see a month in one district\n"
        "  xinqiao keys init --config config/gateway.yaml      make keys and certificates\n"
        "  xinqiao config check config/gateway.yaml            find every mistake at once\n"
        "  xinqiao serve --config config/gateway.yaml          run the gateway\n\n"
        "\b\nExit codes: 0 done, 64 usage, 65 data, 69 unavailable or already running, 70 internal,\n"
        "75 try again, 77 not permitted, 78 configuration, 130 interrupted.",
        "XinQiao 心桥：让困境学生周围的各机构协同的网关。\n\n"
        "\b\n开始使用：\n"
        "  xinqiao demo                                        演示一个区县的一个月\n"
        "  xinqiao keys init --config config/gateway.yaml      生成密钥和证书\n"
        "  xinqiao config check config/gateway.yaml            一次找出配置的全部错误\n"
        "  xinqiao serve --config config/gateway.yaml          启动网关\n\n"
        "\b\n退出码：0 完成，64 用法，65 数据，69 不可用或已在运行，70 内部错误，\n"
        "75 稍后再试，77 无权限，78 配置，130 中断。",
    ),
    "opt.lang": ("Language: en or zh (or set XINQIAO_LANG).", "语言：en 或 zh（或设置 XINQIAO_LANG）。"),
    "opt.version": ("Print the version and stop.", "显示版本后退出。"),
    "opt.config": ("The gateway's configuration (or set XINQIAO_CONFIG).", "网关配置文件（或设置 XINQIAO_CONFIG）。"),
    "opt.json": ("Print JSON, for scripts.", "输出 JSON，供脚本使用。"),
    "opt.as": (
        "Partner whose certificate is shown; by default the first operator.",
        "以哪个伙伴的证书连接；默认第一个运维管理员。",
    ),
    "opt.address": (
        "host:port of the gateway; by default from the configuration.",
        "网关的 host:port；默认取自配置。",
    ),
    "opt.limit": ("At most this many rows.", "最多显示多少行。"),
    "demo": (
        "Play a month in one district: gateway, school, hospital, all on this machine.\n\n"
        "\b\nExamples:\n"
        "  xinqiao demo\n"
        "  xinqiao demo --roster roster.zip --scores phq9.csv\n"
        "  xinqiao demo --stay        leave the gateway up, to call it yourself",
        "演示一个区县的一个月：网关、学校、医院都在本机运行。\n\n"
        "\b\n示例：\n"
        "  xinqiao demo\n"
        "  xinqiao demo --roster roster.zip --scores phq9.csv\n"
        "  xinqiao demo --stay        演示后网关继续运行，供您调用",
    ),
    "opt.roster": ("A OneRoster 1.2 CSV package (zip) to use.", "使用的 OneRoster 1.2 CSV 包（zip）。"),
    "opt.scores": ("A score sheet (CSV or XLSX) to use.", "使用的量表答题表（CSV 或 XLSX）。"),
    "opt.stay": ("Leave the gateway up afterwards.", "演示后网关继续运行。"),
    "opt.folder": ("Where the demo keeps its files.", "演示文件存放的文件夹。"),
    "serve": (
        "Run one gateway until SIGTERM or Ctrl-C; work under way is finished first.\n\n"
        "\b\nExamples:\n"
        "  xinqiao serve --config config/gateway.yaml\n"
        "  XINQIAO_CONFIG=/etc/xinqiao/gateway.yaml xinqiao serve --log-level warning",
        "运行一个网关，直到收到 SIGTERM 或 Ctrl-C；先完成手上的工作再停止。\n\n"
        "\b\n示例：\n"
        "  xinqiao serve --config config/gateway.yaml\n"
        "  XINQIAO_CONFIG=/etc/xinqiao/gateway.yaml xinqiao serve --log-level warning",
    ),
    "opt.log": ("debug, info, warning or error; to stderr.", "debug、info、warning 或 error；输出到 stderr。"),
    "config": ("Check the configuration, or describe it to an editor.", "检查配置，或为编辑器导出其结构。"),
    "config.check": (
        "Find everything that is wrong with a configuration: file:line:column, key, how to mend it.\n\n"
        "The files it names (keys, policy, instruments, triage rules) are checked too.\n\n"
        "\b\nExamples:\n"
        "  xinqiao config check config/gateway.yaml\n"
        "  xinqiao config check --json config/gateway.yaml | jq '.problems[].key'\n"
        "  xinqiao config check --no-files config/gateway.example.yaml",
        "找出配置的全部错误：文件:行:列、键名、如何修改。\n\n"
        "它引用的文件（密钥、共享策略、量表、分级规则）也一并检查。\n\n"
        "\b\n示例：\n"
        "  xinqiao config check config/gateway.yaml\n"
        "  xinqiao config check --json config/gateway.yaml | jq '.problems[].key'\n"
        "  xinqiao config check --no-files config/gateway.example.yaml",
    ),
    "arg.file": ("The gateway.yaml to check.", "要检查的 gateway.yaml。"),
    "opt.no_files": (
        "Do not look at the files it names: keys may not exist yet.",
        "不检查它引用的文件：密钥可能尚未生成。",
    ),
    "opt.in_repository": (
        "Accept private files inside a git work tree: trials only.",
        "允许私密文件位于 git 工作区：仅限试用。",
    ),
    "config.schema": (
        "Print the JSON Schema of gateway.yaml, with the settings of every installed plugin.\n\n"
        "\b\nExamples:\n"
        "  xinqiao config schema > gateway.schema.json\n"
        "  xinqiao config schema --district > district.schema.json",
        "输出 gateway.yaml 的 JSON Schema，含全部已安装插件的设置。\n\n"
        "\b\n示例：\n"
        "  xinqiao config schema > gateway.schema.json\n"
        "  xinqiao config schema --district > district.schema.json",
    ),
    "opt.district": ("The schema of a district overlay instead.", "改为输出区县覆盖文件的结构。"),
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
    "arg.exchange": ("Id of the exchange, as in the configuration.", "对账的标识，见配置。"),
    "opt.period": (
        "The month or week to settle, as in 2026-10 or 2026-W41.",
        "要结算的月或周，如 2026-10 或 2026-W41。",
    ),
    "opt.only_period": ("Only this month or week.", "只看这一月或周。"),
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
    "journal": ("The tamper-evident record of every change and disclosure.", "防篡改的存证日志。"),
    "journal.verify": (
        "Prove offline that the journal is whole: chain, signed checkpoints, partners' receipts.\n\n"
        "Exit codes: 0 sound, 2 changed, 3 rows missing, 4 something unreadable.\n\n"
        "\b\nExamples:\n"
        "  xinqiao journal verify --config config/gateway.yaml\n"
        "  xinqiao journal verify --database sqlite:///backup.db --keys journal.pub --receipts receipts/",
        "离线证明日志完整：链、签名检查点、伙伴回执。\n\n"
        "退出码：0 完好，2 被改动，3 缺行，4 不可读。\n\n"
        "\b\n示例：\n"
        "  xinqiao journal verify --config config/gateway.yaml\n"
        "  xinqiao journal verify --database sqlite:///backup.db --keys journal.pub --receipts receipts/",
    ),
    "opt.database": (
        "URL of the database, or path of an SQLite file, instead of the configured one.",
        "数据库 URL 或 SQLite 文件路径，代替配置中的数据库。",
    ),
    "opt.keys": ("The signer's public key, or a folder of them (*.pem).", "签名者公钥，或其文件夹（*.pem）。"),
    "opt.receipts": ("Folder of notes that partners echoed.", "伙伴回执所在文件夹。"),
    "holdings": (
        "Who holds what, until when; overdue first.\n\n\b\nExample:\n  xinqiao holdings --as psych-chen",
        "谁持有什么事项，到何时；逾期在前。\n\n\b\n示例：\n  xinqiao holdings --as psych-chen",
    ),
    "reloaded": ("the rules were read again and are in force", "规则已重新读取并生效"),
    "reload.broken": (
        "the new rules are broken, the old ones stay; ask `xinqiao config check {file}`",
        "新规则有误，继续沿用旧规则；请运行 `xinqiao config check {file}`",
    ),
    # -- closing by hand, revising a disputed exchange ----------------------------------------------------------------
    "holdings.close": (
        "Close by hand an item that no other call closes: a sheet that was mended under another name, a dead delivery "
        "that will not be put back, what was open for an erased student.\n\n"
        "\b\nExample:\n  xinqiao holdings close intake/school/0f3a --reason MENDED_ELSEWHERE",
        "手工关闭无法由其他调用关闭的事项：以别名补正的表、不再放回的死信、已清除学生的遗留事项。\n\n"
        "\b\n示例：\n  xinqiao holdings close intake/school/0f3a --reason MENDED_ELSEWHERE",
    ),
    "arg.item": ("The item, from `holdings`.", "`holdings` 中的事项。"),
    "opt.reason": (
        "Why, as an UPPER_SNAKE word and perhaps a reference, as in PHONE_AGREED:ticket-4711; never a name.",
        "原因：大写下划线单词，可附编号，如 PHONE_AGREED:ticket-4711；不得写姓名。",
    ),
    "opt.revise": (
        "Give this disputed revision up and send the period again as a new one; needs --reason.",
        "放弃这一有争议的修订，将该期作为新修订重新发送；须附 --reason。",
    ),
    "exchange.revise_how": (
        "--revise REV and --reason WORD belong together; `xinqiao exchange show` tells the revision",
        "--revise 与 --reason 须同时给出；修订号见 `xinqiao exchange show`",
    ),
    "keys": ("Keys and certificates of the deployment.", "部署的密钥与证书。"),
    "keys.init": (
        "Create the keys and certificates that are missing; what exists is never replaced.\n\n"
        "\b\nExample:\n  xinqiao keys init --config config/gateway.yaml",
        "生成缺少的密钥和证书；已有的绝不替换。\n\n\b\n示例：\n  xinqiao keys init --config config/gateway.yaml",
    ),
    "db": ("The two databases.", "两个数据库。"),
    "db.upgrade": (
        "Create both databases or bring them to this program's schema; the gateway must not be running.\n\n"
        "\b\nExample:\n  xinqiao db upgrade --config config/gateway.yaml",
        "创建两个数据库或升级到本程序的结构；升级时网关不得运行。\n\n"
        "\b\n示例：\n  xinqiao db upgrade --config config/gateway.yaml",
    ),
    # -- signals, cadence, triage -------------------------------------------------------------------------------------
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
    "col.source": ("source", "来源"),
    "col.trust": ("trust", "可信度"),
    "col.time": ("when", "时间"),
    "col.related": ("related", "相关"),
    "col.report": ("report", "报告"),
    "col.subject": ("of", "单位"),
    "col.unit": ("unit", "班级"),
    "col.reporter": ("from", "报告人"),
    "col.often": ("how often", "频次"),
    "col.intensified": ("intensified", "重点时段"),
    "col.ask": ("asks", "追问人"),
    "col.then_now": ("then \\ now", "原等级＼试算"),
    "col.rule": ("rule", "规则"),
    "col.then": ("then", "原等级"),
    "col.now": ("now", "试算"),
    "col.forms": ("forms", "份数"),
    # -- messages -----------------------------------------------------------------------------------------------------
    "error": ("error: {text}", "错误：{text}"),
    "usage": ("usage: {text}\nTry: xinqiao {command}--help", "用法：{text}\n请看：xinqiao {command}--help"),
    "internal": (
        "internal error ({kind} at {place}); set XINQIAO_DEBUG=1 to see where, or report it",
        "内部错误（{kind}，位于 {place}）；设置 XINQIAO_DEBUG=1 可查看位置，或报告此问题",
    ),
    "interrupted": ("interrupted", "已中断"),
    "problems": ("{count} problems", "{count} 个问题"),
    "config.ok": ("{file}: nothing wrong", "{file}：没有问题"),
    "keys.hint": (
        "create what is missing: xinqiao keys init --config {file}",
        "生成缺少的文件：xinqiao keys init --config {file}",
    ),
    "no_config": (
        "{file}: there is no such file; copy config/gateway.example.yaml, or name yours with --config",
        "{file}：没有这个文件；请复制 config/gateway.example.yaml，或用 --config 指定",
    ),
    "ready": (
        "ready: {deployment}/{node} on port {port}, {agencies} agencies, pid {pid}",
        "就绪：{deployment}/{node}，端口 {port}，{agencies} 个机构，pid {pid}",
    ),
    "stopping": ("stopping: finishing what is in hand", "正在停止：先完成手上的工作"),
    "stopped": ("stopped", "已停止"),
    "not_running": (
        "no gateway answers at {address}. Start one: xinqiao serve --config {file}",
        "{address} 没有网关应答。请启动：xinqiao serve --config {file}",
    ),
    "no_operator": (
        "no partner has the role OPERATOR; name one with --as",
        "没有角色为 OPERATOR 的伙伴；请用 --as 指定",
    ),
    "no_partner": ("no partner has this id; see partners in {file}", "没有这个伙伴；见 {file} 的 partners"),
    "no_certificate": (
        "{file}: no certificate to connect with; run: xinqiao keys init",
        "{file}：没有可用的证书；请运行：xinqiao keys init",
    ),
    "no_port": (
        "the gateway listens on any free port (port 0); give the one it printed with --address",
        "网关监听任意空闲端口（端口 0）；请用 --address 给出它显示的端口",
    ),
    "created": ("created", "已生成"),
    "kept": ("kept", "保留"),
    "keys.kek": ("key-encryption key", "主密钥"),
    "keys.journal": ("journal signing key", "日志签名私钥"),
    "keys.journal_public": ("journal public key, for auditors", "日志公钥，交给审计方"),
    "keys.document": ("document signing key", "文书签名私钥"),
    "keys.document_public": ("document public key, for hospitals", "文书公钥，交给医院"),
    "keys.ca": ("certificate authority", "证书颁发机构"),
    "keys.gateway": ("gateway certificate", "网关证书"),
    "keys.partner": ("certificate of {name}", "{name} 的证书"),
    "keys.no_ca": (
        "{file} is missing: certificates come from another authority, or bring it back",
        "缺少 {file}：证书由其他机构签发，或请恢复该文件",
    ),
    "keys.done": (
        "{created} created, {kept} kept. Back up the key-encryption key apart from the databases.",
        "生成 {created} 个，保留 {kept} 个。请将主密钥与数据库分开备份。",
    ),
    "db.done": ("both databases are at this program's schema", "两个数据库均为本程序的结构"),
    "verifying": ("verifying", "验证中"),
    "rows": ("{count} rows", "{count} 行"),
    "nothing": ("nothing to show", "没有内容"),
    "totals": (
        "selected = sent + withheld + refused + failed: {selected} = {sent} + {withheld} + {refused} + {failed}",
        "选中 = 已发 + 扣留 + 拒收 + 失败：{selected} = {sent} + {withheld} + {refused} + {failed}",
    ),
    "exchange.open": (
        "not reconciled yet; the gateway goes on by itself",
        "尚未对平；网关会自行继续",
    ),
    "plugin.failed": ("plugin {name}: {why}", "插件 {name}：{why}"),
    "adapters.ok": ("all agencies answer", "所有机构均已应答"),
    "adapters.bad": ("{count} plugins or agencies do not work", "{count} 个插件或机构不可用"),
    "status": (
        "{deployment} {version}, policy {policy}: {holdings} open items, {overdue} overdue",
        "{deployment} {version}，策略 {policy}：{holdings} 个未结事项，{overdue} 个逾期",
    ),
    "demo.missing": ("this build has no demo", "此版本不含演示"),
    # -- instruments --------------------------------------------------------------------------------------------------
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
    "col.instrument": ("instrument", "量表"),
    "col.version": ("version", "版本"),
    "col.items": ("items", "题目"),
    "col.informants": ("informants", "作答者"),
    "col.ages": ("ages", "年龄"),
    "col.grades": ("grades", "年级"),
    "col.licence": ("licence", "授权"),
    "col.record": ("record", "授权登记"),
    "col.why": ("why", "原因"),
    "col.scale": ("scale", "答案范围"),
    "col.codings": ("codings", "编码"),
    "col.reverse": ("reversed", "反向题"),
    "col.missing": ("missing answers", "缺答处理"),
    "col.from_memory": ("from memory", "未经核实"),
    "col.confirmed": ("confirmed", "已核实"),
    "col.sources": ("source", "来源"),
    "col.score": ("score", "分数"),
    "col.method": ("method", "算法"),
    "col.of": ("of", "题目或分数"),
    "col.range": ("range", "范围"),
    "col.norm": ("norm", "常模"),
    "col.bands": ("bands", "分段"),
    "col.rules": ("rule", "规则"),
    "col.when": ("when", "条件"),
    "col.severity": ("severity", "严重程度"),
    "col.row": ("row", "行"),
    "col.category": ("category", "类别"),
    "col.critical": ("critical", "危机条目"),
    "col.complete": ("complete", "完整"),
    # -- printed forms ------------------------------------------------------------------------------------------------
    "documents": (
        "Printed forms: notices, referral slips, consent forms, feedback slips.",
        "文书：告知书、转介单、知情同意书、反馈单。",
    ),
    "documents.list": ("List the district's forms and check their templates.", "列出本区县的文书并检查模板。"),
    "documents.render": (
        "Print a form to a PDF file.\n\n"
        "\b\nExamples:\n"
        "  xinqiao documents render notice notices/ID --out notice.pdf --as psych-chen\n"
        "  xinqiao documents render consent students/NAME --out consent.pdf --as psych-chen --recipient HOSPITAL",
        "把文书输出为 PDF 文件。\n\n"
        "\b\n示例：\n"
        "  xinqiao documents render notice notices/ID --out notice.pdf --as psych-chen\n"
        "  xinqiao documents render consent students/NAME --out consent.pdf --as psych-chen --recipient HOSPITAL",
    ),
    "documents.verify": (
        "Say whether the code on a notice is genuine: with the public key alone, or --online, which also knows of\n"
        "revocations. Exit code 0: genuine and in force; 65: not.",
        "核验告知书二维码真伪：仅用公钥，或加 --online 向网关查询（可知是否已撤销）。\n退出码：0 真实有效；65 否。",
    ),
    "arg.form": ("notice, referral, feedback or consent", "notice、referral、feedback 或 consent"),
    "arg.subject": ("notices/ID, referrals/ID or students/NAME", "notices/ID、referrals/ID 或 students/NAME"),
    "arg.code": ("The text of the QR code.", "二维码内容。"),
    "opt.out": ("File to write; mode 0600.", "写入的文件；权限 0600。"),
    "opt.form_language": ("Language of the form: zh or en.", "文书语言：zh 或 en。"),
    "opt.recipient": ("With consent: partner id of the recipient.", "知情同意书：接收方的伙伴 id。"),
    "opt.purpose": ("With consent: for what.", "知情同意书：用途。"),
    "opt.classes": ("With consent: classes asked for, with commas.", "知情同意书：所需信息类别，以逗号分隔。"),
    "opt.days": ("With consent: days until it ends.", "知情同意书：有效天数。"),
    "opt.document_key": (
        "Public key file; by default beside the configured document_key.",
        "公钥文件；默认取配置中 document_key 旁的公钥。",
    ),
    "opt.online": ("Ask the gateway, as the partner named by --as.", "以 --as 指定的伙伴身份向网关查询。"),
    "documents.written": ("{file}: {form}, text SHA-256 {digest}", "{file}：{form}，文本 SHA-256 {digest}"),
    "documents.missing": (
        "no font has {glyphs}: printed as numbers in brackets, write them by hand or add a font to documents/fonts",
        "字库缺字 {glyphs}：已以编号印出，请手写补全，或将字体放入 documents/fonts",
    ),
    "documents.withheld": ("withheld: {fields}", "未显示：{fields}"),
    "documents.genuine": ("genuine, issued {day}", "真实，签发于 {day}"),
    "documents.expired": ("genuine, but out of date; issued {day}", "真实，但已过有效期；签发于 {day}"),
    "documents.revoked": ("revoked; issued {day}", "已撤销；签发于 {day}"),
    "documents.not_genuine": ("not genuine: not issued here, or changed", "不真实：非本网关签发或被改动"),
    "documents.offline": (
        "offline nobody knows whether it was revoked: ask with --online",
        "离线无法得知是否已撤销：请用 --online 查询",
    ),
    "documents.no_folder": (
        "{file}: name the folder of templates under `documents`",
        "{file}：请在 `documents` 下指定模板目录",
    ),
    "documents.no_key": (
        "{file}: name the key under `document_key`, or use --key",
        "{file}：请在 `document_key` 下指定密钥，或用 --key",
    ),
    "documents.word": ("unknown word; one of {choices}", "未知的词；可用：{choices}"),
    # -- column headings ----------------------------------------------------------------------------------------------
    "col.what": ("what", "内容"),
    "col.file": ("file", "文件"),
    "col.state": ("state", "状态"),
    "col.agency": ("agency", "机构"),
    "col.adapter": ("adapter", "适配器"),
    "col.message": ("message", "说明"),
    "col.exchange": ("exchange", "对账"),
    "col.partner": ("partner", "伙伴"),
    "col.period": ("period", "期间"),
    "col.revision": ("rev", "修订"),
    "col.selected": ("selected", "选中"),
    "col.sent": ("sent", "已发"),
    "col.withheld": ("withheld", "扣留"),
    "col.refused": ("refused", "拒收"),
    "col.failed": ("failed", "失败"),
    "col.late": ("late", "逾窗"),
    "col.deadline": ("deadline", "期限"),
    "col.name": ("name", "名称"),
    "col.lane": ("lane", "通道"),
    "col.form": ("form", "版本"),
    "col.title": ("title", "名称"),
    "col.reader": ("reader", "读者"),
    "col.kind": ("kind", "类型"),
    "col.item": ("item", "事项"),
    "col.attempt": ("tries", "次数"),
    "col.next": ("next try", "下次"),
    "col.place": ("place", "位置"),
    "col.reason": ("reason", "原因"),
    "col.holder": ("holder", "持有人"),
    "col.step": ("must", "应做"),
    "col.tier": ("tier", "等级"),
    "col.escalations": ("raised", "升级"),
    "col.field": ("field", "字段"),
    "col.value": ("value", "值"),
    "yes": ("yes", "是"),
    "no": ("", ""),
    # -- holdings and drills
    "col.until": ("until", "期限"),
    "col.overdue": ("overdue", "逾期"),
    "col.phone": ("telephone", "电话"),
    "col.school": ("school", "学校"),
    "col.hospital": ("hospital", "医院"),
    "col.began": ("began", "开始"),
    "col.took": ("took", "用时"),
    "col.at": ("at", "时间"),
    "col.due": ("due", "时限"),
    "col.met": ("met", "达标"),
    "col.actor": ("by", "执行"),
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
    "step.receive": ("confirm receipt", "确认收到"),
    "step.accept": ("accept or refuse", "接收或退回"),
    "step.outcome": ("report the outcome", "反馈结果"),
    "step.close": ("close", "结案"),
    "step.phone": ("TELEPHONE", "立即电话"),
    "step.deliver": ("deliver", "投递"),
    "step.mend": ("mend the data", "更正数据"),
    "demo.no_file": ("{file}: there is no such file", "{file}：没有这个文件"),
    "journal.sound": (
        "journal sound: {rows} rows, {writers} writers, {checkpoints} checkpoints, {receipts} receipts",
        "存证日志完好：{rows} 行，{writers} 个写入者，{checkpoints} 个检查点，{receipts} 份回执",
    ),
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
