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
    "opt.period": ("The month to settle, as in 2026-10.", "要结算的月份，如 2026-10。"),
    "opt.only_period": ("Only this month.", "只看这个月。"),
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
}
