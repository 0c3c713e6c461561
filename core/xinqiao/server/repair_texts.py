"""The words of every repair: how urgent, what is wrong in both languages, and the command or the line that mends it."""

from collections.abc import Mapping
from typing import Final

from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc

_NOTICE, _WARNING, _ERROR = rpc.REPAIR_SEVERITY_NOTICE, rpc.REPAIR_SEVERITY_WARNING, rpc.REPAIR_SEVERITY_ERROR

TEXTS: Final[Mapping[str, tuple[rpc.RepairSeverity.ValueType, str, str, str]]] = {
    "ADAPTER_FAILED": (_ERROR, "适配器未运行：{why}", "the adapter does not run: {why}", "{place}"),
    "ADAPTER_RETRYING": (_WARNING, "合作方无应答：{why}", "the partner does not answer: {why}", "xinqiao adapters check"),
    "PLUGIN_BLOCKED": (_ERROR, "插件版本已停用：{why}", "{why}", "pip install -U xinqiao-{kind}"),
    "PLUGIN_DEPRECATED": (
        _WARNING, "插件使用的 {what} 将于 {gone} 起取消：{instead_zh}",
        "the plugin uses {what}, which goes on {gone}: {instead_en}", "{place}",
    ),
    "PLUGIN_API_OLD": (
        _NOTICE, "插件为插件接口第 {api} 版所写，本网关为第 {now} 版",
        "the plugin was written for plugin API {api}, this is {now}",
        "pip install -U xinqiao-{kind}",
    ),
    "PARTNER_SILENT": (
        _WARNING, "已有 {days} 天未收到任何往来", "nothing has come from it or been taken by it for {days} days",
        "xinqiao adapters check",
    ),
    "CERTIFICATE_ENDED": (_ERROR, "证书已过期 {days} 天", "the certificate ended {days} days ago", "{place}"),
    "CERTIFICATE_ENDS": (_WARNING, "证书将在 {days} 天后到期", "the certificate ends in {days} days", "{place}"),
    "CERTIFICATE_UNREADABLE": (_ERROR, "证书无法读取", "the certificate cannot be read", "{place}"),
    "AGREEMENT_ENDED": (
        _ERROR, "保密协议已失效 {days} 天，不再向其提供信息", "the agreement ended {days} days ago: nothing goes there",
        "{place}",
    ),
    "AGREEMENT_ENDS": (_WARNING, "保密协议将在 {days} 天后到期", "the agreement ends in {days} days", "{place}"),
    "BASIS_ENDED": (
        _ERROR, "法律依据已失效 {days} 天，不得再据此提供信息",
        "the legal basis ended {days} days ago: nothing goes under it", "{place}",
    ),
    "BASIS_ENDS": (_WARNING, "法律依据将在 {days} 天后失效", "the legal basis ends in {days} days", "{place}"),
    "BASES_UNSIGNED": (
        _NOTICE, "法律依据未经签名，仅可用于演示", "the legal bases are not signed: for a demonstration only",
        "xinqiao policy sign; {place}",
    ),
    "FORM_ENDED": (
        _ERROR, "文书文本已失效 {days} 天，请换用新文本",
        "the text of the form ended {days} days ago: put a new one in its place", "{place}",
    ),
    "FORM_ENDS": (_WARNING, "文书文本将在 {days} 天后失效", "the text of the form ends in {days} days", "{place}"),
    "NOTICES_UNSIGNED": (
        _NOTICE, "没有文书签名密钥，无法出具告知书", "there is no key to sign notices with: none can be issued", "{place}",
    ),
    "CONSENTS_END": (
        _WARNING, "有 {count} 份知情同意将在 {days} 天内到期，到期后不再提供信息",
        "{count} consents end within {days} days: then nothing goes there under them",
        "xinqiao documents render consent students/NAME --recipient {subject} --out consent.pdf",
    ),
    "OVERRIDES_MANY": (
        _WARNING, "{days} 天内紧急访问 {count} 次（限值 {limit} 次）",
        "{count} emergency accesses within {days} days (the limit is {limit})", "xinqiao overrides list",
    ),
    "DEAD_LETTERS": (
        _ERROR, "{count} 件投递已放弃（{reasons}）", "{count} deliveries were given up ({reasons})",
        "xinqiao deliveries list --dead",
    ),
    "NOT_TAKEN": (
        _WARNING, "{count} 项来件未能接收（{reasons}），首项：{first}",
        "{count} things that were sent in could not be taken ({reasons}), the first: {first}",
        "xinqiao adapters read {kind} FILE; xinqiao holdings",
    ),
    "UNMAPPED_CODE": (
        _WARNING, "{count} 项含未约定的代码（{reasons}）", "{count} items hold a code that nobody agreed on ({reasons})",
        "{place}",
    ),
    "RECEIPT_OVERDUE": (
        _WARNING, "第 {period} 期已发出，逾期未收到回执", "no receipt for {period}, it is overdue",
        "xinqiao exchange show {exchange} --period {period}",
    ),
    "RUN_INCOMPLETE": (
        _ERROR, "第 {period} 期对账不符", "the run of {period} does not reconcile",
        "xinqiao exchange show {exchange} --period {period}",
    ),
    "BOOKS_DIFFER": (
        _ERROR, "第 {period} 期对方台账与本方不符，共 {count} 项（{items}）",
        "the partner's books of {period} and ours do not agree about {count} items ({items})",
        "xinqiao holdings",
    ),
    "CONFIG_BROKEN": (
        _ERROR, "新规则文件有误，仍用旧规则", "the new rules are broken, the old ones stay",
        "xinqiao config check {file}",
    ),
    "JOURNAL_UNSIGNED": (
        _ERROR, "存证日志已有 {minutes} 分钟未签名", "the journal has had no signature for {minutes} minutes",
        "xinqiao journal verify",
    ),
    "DISK_FULL": (_WARNING, "磁盘仅余 {percent}%", "only {percent} % of the disk is free", "df -h {file}"),
}  # fmt: skip
"""Severity, Chinese, English, and the command or the file, line and key that mends it."""


def repair(code: str, subject: str, since_us: int, **values: object) -> rpc.Repair:
    """One line of the list; ``since_us`` is when it became one."""
    severity, zh, en, mend = TEXTS[code]
    zh, en, mend = (text.format(subject=subject, **values) for text in (zh, en, mend))
    return rpc.Repair(
        code=code, severity=severity, subject=subject, since_us=int(since_us), text_zh=zh, text_en=en, mend=mend
    )
