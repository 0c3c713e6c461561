"""Texts of the kit: judging an adapter, making a new one."""

from collections.abc import Mapping
from typing import Final

TABLE: Final[Mapping[str, tuple[str, str]]] = {
    "adapters.conform": (
        "Judge an adapter: the conformance suite through the real host, against its partner's simulator with faults; or, "
        "with --remote, a partner's own service in any language. Prints what passed and failed, how to mend it, and the "
        "computed quality tier. Only made-up people are used.\n\n"
        "Exit codes: 0 nothing failed, 65 something did.\n\n"
        "\b\nExamples:\n"
        "  xinqiao adapters conform hospital\n"
        "  xinqiao adapters conform hospital --write\n"
        "  xinqiao adapters conform manifest.yaml --remote 127.0.0.1:50061",
        "评判一个适配器：通过真实的宿主运行合规套件，对象是其合作方模拟器及各种故障；"
        "用 --remote 则评判合作方自己用任何语言写的服务。显示通过与失败项、改法，以及计算出的质量等级。只使用虚构人物。\n\n"
        "退出码：0 无失败，65 有失败。\n\n"
        "\b\n示例：\n"
        "  xinqiao adapters conform hospital\n"
        "  xinqiao adapters conform hospital --write\n"
        "  xinqiao adapters conform manifest.yaml --remote 127.0.0.1:50061",
    ),
    "arg.plugin": (
        "Name of an installed plugin; with --remote also the file of the manifest that the service has.",
        "已安装插件的名称；用 --remote 时也可以是该服务的清单文件。",
    ),
    "opt.remote": ("Judge the service of xinqiao.api.adapter.v1 there.", "评判该处的 xinqiao.api.adapter.v1 服务。"),
    "opt.remote_ca": ("CA of the service's certificate; without it plain text.", "服务证书的 CA；不给则为明文。"),
    "opt.remote_cert": ("Client certificate to show.", "出示的客户端证书。"),
    "opt.remote_key": ("Its key.", "该证书的私钥。"),
    "opt.write_quality": (
        "Write the outcome to quality.yaml of the plugin's folder.",
        "把结果写入插件文件夹的 quality.yaml。",
    ),
    "conform.passed": ("passed", "通过"),
    "conform.failed": ("FAILED", "未通过"),
    "conform.not_shown": ("not shown", "未能展示"),
    "conform.not_applicable": ("n/a", "不适用"),
    "conform.not_declared": ("not declared", "未声明"),
    "conform.lowest": (
        "{name} as a whole: {tier}, the lowest of its ways",
        "{name} 总评：{tier}（各种方式中最低的一级）",
    ),
    "conform.mend": ("How to mend it:", "改法："),
    "conform.tier": (
        "{name}: {tier} ({passed} passed, {failed} failed, {open} not shown)",
        "{name}：{tier}（通过 {passed}，未通过 {failed}，未能展示 {open}）",
    ),
    "conform.wrote": ("wrote {file}", "已写入 {file}"),
    "conform.no_plugin": (
        "no plugin {name} is installed; there is: {names}. Install one with `pip install -e FOLDER`",
        "未安装插件 {name}；现有：{names}。用 `pip install -e 文件夹` 安装",
    ),
    "conform.no_remote": (
        "--remote needs the plugin xinqiao-remote: pip install -e plugins/remote",
        "--remote 需要插件 xinqiao-remote：pip install -e plugins/remote",
    ),
    "conform.no_manifest": (
        "{name} is neither an installed plugin nor a manifest file",
        "{name} 既不是已安装的插件，也不是清单文件",
    ),
    "conform.bad_address": (
        "--remote: an address is host:port, IPv6 in brackets, such as 127.0.0.1:50061",
        "--remote：地址格式为 host:port，IPv6 加方括号，例如 127.0.0.1:50061",
    ),
    "conform.remote_write": ("--write is for plugins, not for a remote service", "--write 用于插件，不用于远程服务"),
    "tier.none": ("no tier", "未达等级"),
    "tier.bronze": ("bronze", "铜"),
    "tier.silver": ("silver", "银"),
    "tier.gold": ("gold", "金"),
    "tier.platinum": ("platinum", "铂金"),
    "adapters.new": (
        "Write a new plugin with its simulator and tests that pass at once. Asks on a terminal what no flag says; "
        "elsewhere it takes the defaults.\n\n"
        "\b\nExamples:\n"
        "  xinqiao adapters new civil_affairs\n"
        "  xinqiao adapters new tax --zh 税务局 --en 'Tax bureau' --partner civil_affairs --protocol folder "
        "--contracts referral,recall --folder plugins",
        "新建一个插件，含模拟器和立即通过的测试。在终端上会询问未用参数给出的内容；否则取默认值。\n\n"
        "\b\n示例：\n"
        "  xinqiao adapters new civil_affairs\n"
        "  xinqiao adapters new tax --zh 税务局 --en 'Tax bureau' --partner civil_affairs --protocol folder "
        "--contracts referral,recall --folder plugins",
    ),
    "arg.new": ("The plugin's one name: a lower-case word.", "插件的唯一名称：小写英文单词。"),
    "opt.new_zh": ("Its Chinese name.", "中文名称。"),
    "opt.new_en": ("Its English name.", "英文名称。"),
    "opt.new_partner": ("Kind of partner, such as hospital.", "机构类型，如 hospital。"),
    "opt.new_protocol": (
        "What the partner speaks: http (we push), folder (of files), webhook (it pushes).",
        "对方的方式：http（我方推送）、folder（文件夹）、webhook（对方推送）。",
    ),
    "opt.new_contracts": (
        "Contracts it is given, by commas: referral, referral_update, recall, task, police_report, signal_update, call_hand_off. "
        "Not with webhook.",
        "交给它的契约，用逗号分隔：referral、referral_update、recall、task、"
        "police_report、signal_update、call_hand_off。webhook 不适用。",
    ),
    "opt.new_folder": ("Folder to write the plugin's folder into.", "在哪个文件夹下新建插件文件夹。"),
    "new.same_names": ("the Chinese and the English name must differ", "中文名称与英文名称不能相同"),
    "new.webhook_contracts": (
        "a partner that only pushes to us is given nothing: leave --contracts out, or choose http",
        "仅向我方推送的机构不会收到任何记录：请去掉 --contracts，或改用 http",
    ),
    "new.bad_name": (
        "{name}: a plugin's name is a lower-case word of a-z, 0-9 and _, up to 32 long, that starts with a letter and is no "
        "Python keyword, such as {example}",
        "{name}：插件名称为小写英文单词（a-z、0-9、_，不超过 32 个字符，以字母开头，且不是 Python 关键字），例如 {example}",
    ),
    "new.exists": (
        "{folder} is there already; choose another name, or another --folder",
        "{folder} 已经存在；请换一个名称，或换一个 --folder",
    ),
    "new.taken": (
        "a plugin {name} is installed already; choose another name",
        "已安装同名插件 {name}；请换一个名称",
    ),
    "new.bad_value": ("{option}: {value} is not one of {known}", "{option}：{value} 不在 {known} 之中"),
    "new.bad_text": (
        "{option}: one line of 1 to 80 characters without quotes",
        "{option}：一行，1 至 80 个字符，不含引号",
    ),
    "new.wrote": ("wrote {count} files to {folder}", "已在 {folder} 写入 {count} 个文件"),
    "new.next": ("Next:", "接下来："),
    "new.workspace": (
        "in this repository also add it to pyproject.toml (mypy packages, importlinter, uv sources)",
        "在本仓库中还须加入 pyproject.toml（uv members、mypy packages、pyright include、ruff src、importlinter）",
    ),
    "adapters.record": (
        "Record for a while what passes between one agency's adapter and its partner, for whoever mends the plugin far away. "
        "Nobody is in it: identities, texts and numbers are replaced by invented ones of the same shape before they are "
        "written. The journal says who began it and why; it ends by itself.\n\n"
        "\b\nExamples:\n"
        "  xinqiao adapters record kunshan-mhc --reason REPAIR:ticket-4711 --minutes 30\n"
        "  xinqiao adapters record kunshan-mhc --reason REPAIR:ticket-4711 --stop",
        "在一段时间内录下某机构的适配器与对方之间的往来，供远处修插件的人使用。录下的内容里没有任何人："
        "身份、文字与数字在写入之前都换成同样形状的虚构值。存证日志记有何人因何开始；到时自动结束。\n\n"
        "\b\n示例：\n"
        "  xinqiao adapters record kunshan-mhc --reason REPAIR:ticket-4711 --minutes 30\n"
        "  xinqiao adapters record kunshan-mhc --reason REPAIR:ticket-4711 --stop",
    ),
    "arg.agency": ("Id of the agency under `adapters` in gateway.yaml.", "gateway.yaml 中 adapters 下的机构编号。"),
    "opt.record_reason": (
        "Why, as a word and a reference, such as REPAIR:ticket-4711.",
        "理由：一个词加编号，例如 REPAIR:ticket-4711。",
    ),
    "opt.record_minutes": ("Minutes until it ends.", "多少分钟后结束。"),
    "opt.record_kilobytes": ("Size at which it ends, in kB.", "到多大时结束，单位 kB。"),
    "opt.record_stop": ("End the one that runs.", "结束正在进行的录制。"),
    "record.begun": (
        "recording until {end}, in recordings/{file} beside the keyring of the node",
        "录制至 {end}，文件为该节点密钥库旁的 recordings/{file}",
    ),
    "record.ended": ("the recording of {agency} has ended", "{agency} 的录制已结束"),
    "adapters.replay": (
        "Serve a recording as the partner it was made of, on loopback, until Ctrl-C: HTTP and HL7 requests are answered as "
        "then, files are laid into a folder.\n\n"
        "\b\nExample:\n"
        "  xinqiao adapters replay recording.jsonl --lay inbox",
        "把录下的往来当作对方在本机重放，直到 Ctrl-C：HTTP 与 HL7 请求照当时应答，文件放入文件夹。\n\n"
        "\b\n示例：\n"
        "  xinqiao adapters replay recording.jsonl --lay inbox",
    ),
    "arg.recording": ("A recording made with `adapters record`.", "用 adapters record 录制的文件。"),
    "opt.lay": ("Write the files that the partner sent into this folder.", "把对方发来的文件写入此文件夹。"),
    "replay.serves": (
        "{plugin}: HTTP at {http}, HL7 over MLLP at {mllp}; {files} files laid. Ctrl-C ends it.",
        "{plugin}：HTTP 在 {http}，HL7（MLLP）在 {mllp}；已放入 {files} 个文件。按 Ctrl-C 结束。",
    ),
    "col.case": ("case", "用例"),
    "col.level": ("tier", "等级"),
}
