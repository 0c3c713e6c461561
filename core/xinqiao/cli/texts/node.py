"""Texts of the program itself: options of every command, demo, serve, config, keys, databases, journal, messages."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
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
    "demo.no_file": ("{file}: there is no such file", "{file}：没有这个文件"),
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
    "journal.prove": (
        "Write a proof of one journal row that anybody can check with the public key alone.\n\n"
        "ID is WRITER/SEQ, such as main/4711, or a resource with one row, such as deliveries/0123.\n\n"
        "Exit codes: 0 written, 2 rows changed, 3 no such row or not yet signed, 4 something unreadable.\n\n"
        "\b\nExamples:\n"
        "  xinqiao journal prove main/4711 --out proof.json\n"
        "  xinqiao journal prove main/4711 --database backup.db --keys journal.pub --json > proof.json",
        "为一行日志写出证明，任何人仅凭公钥即可核对。\n\n"
        "ID 为 写入者/序号，例如 main/4711；也可以是只有一行日志的资源，例如 deliveries/0123。\n\n"
        "退出码：0 已写出，2 行被改动，3 没有这一行或尚未签名，4 不可读。\n\n"
        "\b\n示例：\n"
        "  xinqiao journal prove main/4711 --out proof.json\n"
        "  xinqiao journal prove main/4711 --database backup.db --keys journal.pub --json > proof.json",
    ),
    "journal.check-proof": (
        "Check such a proof offline: no database, no configuration.\n\n"
        "Exit codes: 0 it holds, 2 it does not, 4 unreadable.\n\n"
        "\b\nExample:\n  xinqiao journal check-proof proof.json --key journal.pub",
        "离线核对这样的证明：不需要数据库，也不需要配置。\n\n"
        "退出码：0 成立，2 不成立，4 不可读。\n\n"
        "\b\n示例：\n  xinqiao journal check-proof proof.json --key journal.pub",
    ),
    "journal.several": (
        "{name} has several journal rows: name one of those listed",
        "{name} 有多行日志：请从列出的行中指定一行",
    ),
    "journal.proved": (
        "{name} is proved against the signed checkpoint of {size} rows: {file}",
        "{name} 已由签了 {size} 行的检查点证明：{file}",
    ),
    "journal.holds": (
        "the proof holds: this row stands in the signed journal",
        "证明成立：此行确在已签名的日志中",
    ),
    "arg.row": ("The row: WRITER/SEQ, or a resource.", "日志行：写入者/序号，或资源名。"),
    "arg.proof": ("The proof's file.", "证明文件。"),
    "opt.proof_out": ("Where to write it; never replaces a file.", "写到哪个文件；绝不覆盖已有文件。"),
    "opt.proof_key": ("The signer's public key (PEM), or a folder of them.", "签名者公钥（PEM），或其文件夹。"),
    "opt.database": (
        "URL of the database, or path of an SQLite file, instead of the configured one.",
        "数据库 URL 或 SQLite 文件路径，代替配置中的数据库。",
    ),
    "opt.keys": ("The signer's public key, or a folder of them (*.pem).", "签名者公钥，或其文件夹（*.pem）。"),
    "opt.receipts": (
        "Folder of what partners kept: checkpoints (*.txt, *.note) and receipts of packages (*.json).",
        "伙伴所存证据的文件夹：检查点（*.txt、*.note）与数据包回执（*.json）。",
    ),
    "reloaded": ("the rules were read again and are in force", "规则已重新读取并生效"),
    "reload.broken": (
        "the new rules are broken, the old ones stay; ask `xinqiao config check {file}`",
        "新规则有误，继续沿用旧规则；请运行 `xinqiao config check {file}`",
    ),
    "keys": ("Keys and certificates of the deployment.", "部署的密钥与证书。"),
    "keys.init": (
        "Create the keys and certificates that are missing; what exists is never replaced.\n\n"
        "\b\nExample:\n  xinqiao keys init --config config/gateway.yaml",
        "生成缺少的密钥和证书；已有的绝不替换。\n\n\b\n示例：\n  xinqiao keys init --config config/gateway.yaml",
    ),
    "keys.rotate": (
        "Make a new key-encryption key; students' keys are brought over while the gateway serves.\n\n"
        "It goes on in the gateway, after a restart too: this command only begins it and looks on. Back up the keyring "
        "and the key database afterwards, then destroy the retired key.\n\n"
        "\b\nExamples:\n"
        "  xinqiao keys rotate --config config/gateway.yaml\n"
        "  xinqiao keys rotate --reason INCIDENT:ticket-4711 --no-wait",
        "生成新的密钥加密密钥；学生密钥在网关服务期间逐批改用新密钥。\n\n"
        "轮换在网关内进行，重启后自动继续：本命令只负责启动并显示进度。完成后请备份密钥环和密钥库，再销毁旧密钥。\n\n"
        "\b\n示例：\n"
        "  xinqiao keys rotate --config config/gateway.yaml\n"
        "  xinqiao keys rotate --reason INCIDENT:ticket-4711 --no-wait",
    ),
    "keys.status": (
        "Say which key-encryption key is in use and how far a rotation is.\n\n"
        "\b\nExample:\n  xinqiao keys status --config config/gateway.yaml",
        "显示正在使用的密钥加密密钥和轮换进度。\n\n\b\n示例：\n  xinqiao keys status --config config/gateway.yaml",
    ),
    "keys.destroy": (
        "Destroy retired key-encryption keys: older copies of the key database can never be read again.\n\n"
        "\b\nExample:\n  xinqiao keys destroy --reason SHRED_DEADLINE",
        "销毁已停用的密钥加密密钥：此前的密钥库备份将永远无法读取。\n\n"
        "\b\n示例：\n  xinqiao keys destroy --reason SHRED_DEADLINE",
    ),
    "keys.destroy.warning": (
        "Copies of the key database from before the last rotation can never be read again. Is there a newer backup?",
        "上次轮换之前的密钥库备份将永远无法读取。是否已有更新的备份？",
    ),
    "keys.destroyed": ("destroyed key-encryption keys: {versions}", "已销毁的密钥加密密钥：{versions}"),
    "keys.rotating": ("keys brought over", "已改用新密钥"),
    "keys.state": (
        "key-encryption key {current}, held by {provider}",
        "密钥加密密钥 {current}，由 {provider} 保管",
    ),
    "keys.rewrapping": (
        "a rotation is under way: {done} of {total} keys brought over",
        "轮换进行中：{total} 个密钥中已有 {done} 个改用新密钥",
    ),
    "keys.retired": (
        "{count} retired. Back up the keyring and the key database, then: xinqiao keys destroy",
        "已停用 {count} 个。请先备份密钥环和密钥库，再运行：xinqiao keys destroy",
    ),
    "opt.no_wait": ("Begin it and do not look on.", "启动后不等待。"),
    "opt.yes": ("Do not ask.", "不再询问。"),
    "sure": ("Destroy them?", "确认销毁？"),
    "not_confirmed": (
        "not confirmed; at a terminal answer the question, in a script give {option}",
        "未确认；在终端请回答提问，在脚本中请给出 {option}",
    ),
    "student": ("One student.", "单个学生。"),
    "student.shred": (
        "Erase a student for ever: no record, answer, delivery or backup of them can be read afterwards.\n\n"
        "For the agency whose student it is, or an operator with --agency. Refused while something is open for the "
        "student, or under a legal hold. What partners were given stays with them.\n\n"
        "\b\nExamples:\n"
        "  xinqiao student shred 2023000117 --as psych-chen --reason GUARDIAN_ASKED:letter-118\n"
        "  xinqiao student shred - --agency kunshan-no1-middle --reason COURT:2026-33 --confirm 2023000117 < id.txt",
        "永久删除一名学生：其记录、应答、待发内容和备份此后均无法读取。\n\n"
        "由学生所属机构执行，或由运维管理员用 --agency 指定机构。学生仍有未结事项或处于法律保全时拒绝。"
        "已提供给伙伴的内容仍在伙伴处。\n\n"
        "\b\n示例：\n"
        "  xinqiao student shred 2023000117 --as psych-chen --reason GUARDIAN_ASKED:letter-118\n"
        "  xinqiao student shred - --agency kunshan-no1-middle --reason COURT:2026-33 --confirm 2023000117 < id.txt",
    ),
    "student.shred.warning": ("This cannot be taken back by anybody.", "此操作任何人都无法撤销。"),
    "student.shred.again": ("Write the student's id again", "请再次输入该学生的编号"),
    "student.shredded": (
        "erased at {at}; {cancelled} deliveries that were waiting will not go",
        "已于 {at} 删除；{cancelled} 份待发内容不再发送",
    ),
    "student.recipients": (
        "ask these agencies to delete what they were given: {agencies}",
        "请要求以下机构删除已收到的内容：{agencies}",
    ),
    "arg.erased": (
        "The agency's own id of the student, or students/NAME; - reads it from standard input.",
        "机构自己的学生编号，或 students/NAME；- 表示从标准输入读取。",
    ),
    "opt.agency": ("For an operator: the agency that knows the student so.", "运维管理员用：该编号所属的机构。"),
    "opt.confirm": ("The id once more, in place of the question.", "再次给出编号，代替提问。"),
    "db": ("The two databases.", "两个数据库。"),
    "db.upgrade": (
        "Create both databases or bring them to this program's schema; the gateway must not be running.\n\n"
        "\b\nExample:\n  xinqiao db upgrade --config config/gateway.yaml",
        "创建两个数据库或升级到本程序的结构；升级时网关不得运行。\n\n"
        "\b\n示例：\n  xinqiao db upgrade --config config/gateway.yaml",
    ),
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
        "selected = sent + withheld + refused + failed + withdrawn: "
        "{selected} = {sent} + {withheld} + {refused} + {failed} + {withdrawn}",
        "选中 = 已发 + 扣留 + 拒收 + 失败 + 撤回："
        "{selected} = {sent} + {withheld} + {refused} + {failed} + {withdrawn}",
    ),
}
