"""What an administrator must mend: one list, computed from what is there whenever somebody asks. All its rules are here."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from cryptography import x509

from xinqiao.adapters.agency import AgencyHandle
from xinqiao.api.exchange.v1.exchange_pb2 import RUN_STATE_AWAIT_RECEIPT, RUN_STATE_INCOMPLETE
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.config.settings import Gateway as Settings
from xinqiao.contract.clock import to_us
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.registry import Registry
from xinqiao.journal.checkpoint import unsigned_since
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.sql import func
from xinqiao.store.tx import ReadTx

_DAY_US: Final = 86_400_000_000
_UNSIGNED_US: Final = 300_000_000  # as the status: five checkpoints missed
_NOTICE, _WARNING, _ERROR = rpc.REPAIR_SEVERITY_NOTICE, rpc.REPAIR_SEVERITY_WARNING, rpc.REPAIR_SEVERITY_ERROR

TEXTS: Final[Mapping[str, tuple[rpc.RepairSeverity.ValueType, str, str, str]]] = {
    "ADAPTER_FAILED": (_ERROR, "适配器未运行：{why}", "the adapter does not run: {why}", "gateway.yaml: adapters.{subject}"),
    "ADAPTER_RETRYING": (_WARNING, "合作方无应答：{why}", "the partner does not answer: {why}", "xinqiao adapters check"),
    "PLUGIN_BLOCKED": (_ERROR, "插件版本已停用：{why}", "{why}", "pip install -U xinqiao-{kind}"),
    "CERTIFICATE_ENDED": (_ERROR, "证书已过期 {days} 天", "the certificate ended {days} days ago", "{file}"),
    "CERTIFICATE_ENDS": (_WARNING, "证书将在 {days} 天后到期", "the certificate ends in {days} days", "{file}"),
    "CERTIFICATE_UNREADABLE": (_ERROR, "证书无法读取", "the certificate cannot be read", "{file}"),
    "AGREEMENT_ENDED": (
        _ERROR, "保密协议已失效 {days} 天，不再向其提供信息", "the agreement ended {days} days ago: nothing goes there",
        "gateway.yaml: partners.{subject}.agreement",
    ),
    "AGREEMENT_ENDS": (
        _WARNING, "保密协议将在 {days} 天后到期", "the agreement ends in {days} days",
        "gateway.yaml: partners.{subject}.agreement",
    ),
    "DEAD_LETTERS": (
        _ERROR, "{count} 件投递已放弃", "{count} deliveries were given up", "xinqiao deliveries list --dead"
    ),
    "NOT_TAKEN": (
        _WARNING, "{count} 份来件未能接收", "{count} things that were sent in could not be taken", "xinqiao holdings"
    ),
    "RECEIPT_OVERDUE": (
        _WARNING, "第 {period} 期已发出，逾期未收到回执", "no receipt for {period}, it is overdue",
        "xinqiao exchange list",
    ),
    "RUN_INCOMPLETE": (_ERROR, "第 {period} 期对账不符", "the run of {period} does not reconcile", "xinqiao exchange list"),
    "CONFIG_BROKEN": (
        _ERROR, "新规则文件有误，仍用旧规则", "the new rules are broken, the old ones stay",
        "xinqiao config check gateway.yaml",
    ),
    "JOURNAL_UNSIGNED": (
        _ERROR, "存证日志已有 {minutes} 分钟未签名", "the journal has had no signature for {minutes} minutes",
        "xinqiao journal verify",
    ),
    "BASES_UNSIGNED": (
        _NOTICE, "法律依据未经签名，仅可用于演示", "the legal bases are not signed: for a demonstration only",
        "xinqiao policy sign; gateway.yaml: legal_bases_key",
    ),
    "DISK_FULL": (_WARNING, "磁盘仅余 {percent}%", "only {percent} % of the disk is free", "{file}"),
}  # fmt: skip
"""Severity, Chinese, English, and the command or the file and key that mends it."""


class Repairs:
    """``ListRepairs``. Nothing is kept: what was mended is not on the next list."""

    def __init__(
        self, settings: Settings, agencies: Mapping[str, AgencyHandle], registry: Registry,
        free: Callable[[Path], tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        """``free`` says the size of a folder's disk and what is free, bytes."""
        self._settings, self._agencies, self._registry, self._free = settings, agencies, registry, free or _disk

    def list_repairs(self, request: rpc.ListRepairsRequest, call: Call) -> rpc.ListRepairsResponse:
        """The most urgent first, then the oldest."""
        reading = call.reading
        found = [
            *self._adapters(), *self.certificates(reading.now_us), *self.agreements(reading.now_us),
            *self._open(reading), *self._runs(reading), *self.node(reading),
        ]  # fmt: skip
        found.sort(key=lambda each: (-each.severity, each.since_us or reading.now_us, each.code, each.subject))
        return rpc.ListRepairsResponse(repairs=found)

    def _adapters(self) -> Iterator[rpc.Repair]:
        for agency, handle in self._agencies.items():
            if handle.blocked:
                yield _repair("PLUGIN_BLOCKED", agency, why=handle.message, kind=handle.kind)
            elif handle.state == rpc.AGENCY_STATE_FAILED:
                yield _repair("ADAPTER_FAILED", agency, why=handle.message)
            elif handle.state == rpc.AGENCY_STATE_RETRYING:
                yield _repair("ADAPTER_RETRYING", agency, why=handle.message)

    def certificates(self, now_us: int) -> Iterator[rpc.Repair]:
        """Those this gateway shows and checks with."""
        tls = self._settings.server.tls
        for path in (Path(tls.certificate), Path(tls.ca)):
            try:
                ends_us = to_us(x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc)
            except (OSError, ValueError):
                yield _repair("CERTIFICATE_UNREADABLE", path.name, file=path)
                continue
            left_us = ends_us - now_us
            if left_us <= 0:
                yield _repair("CERTIFICATE_ENDED", path.name, ends_us, days=-left_us // _DAY_US, file=path)
            elif left_us < self._settings.repairs.certificate_days * _DAY_US:
                yield _repair("CERTIFICATE_ENDS", path.name, days=left_us // _DAY_US, file=path)

    def agreements(self, now_us: int) -> Iterator[rpc.Repair]:
        """Of every partner."""
        for partner in self._registry.all():
            left_us = partner.agreement_to_us - now_us
            if left_us <= 0:
                yield _repair("AGREEMENT_ENDED", partner.id, partner.agreement_to_us, days=-left_us // _DAY_US)
            elif left_us < self._settings.repairs.agreement_days * _DAY_US:
                yield _repair("AGREEMENT_ENDS", partner.id, days=left_us // _DAY_US)

    def _open(self, reading: ReadTx) -> Iterator[rpc.Repair]:
        d, h = tables.deliveries.c, tables.holdings.c
        columns = tables.deliveries.select().with_only_columns(
            d.recipient, func.count().label("n"), func.min(d.updated_us).label("since")
        )
        for row in reading.all(columns.where(d.state == int(DeliveryState.DEAD)).group_by(d.recipient)):
            yield _repair("DEAD_LETTERS", row["recipient"], row["since"], count=row["n"])
        columns = tables.holdings.select().with_only_columns(
            h.kind, func.count().label("n"), func.min(h.opened_us).label("since")
        )
        for row in reading.all(columns.where(h.kind.in_(["intake", "config"])).group_by(h.kind)):
            yield _repair("NOT_TAKEN" if row["kind"] == "intake" else "CONFIG_BROKEN", "", row["since"], count=row["n"])

    def _runs(self, reading: ReadTx) -> Iterator[rpc.Repair]:
        r = tables.exchange_runs.c
        wanted = [int(RUN_STATE_AWAIT_RECEIPT), int(RUN_STATE_INCOMPLETE)]
        for row in reading.all(tables.exchange_runs.select().where(r.state.in_(wanted))):
            subject = f"{row['exchange']}/{row['partner']}"
            if row["state"] == int(RUN_STATE_INCOMPLETE):
                yield _repair("RUN_INCOMPLETE", subject, row["updated_us"], period=row["period"])
            elif row["deadline_us"] < reading.now_us:
                yield _repair("RECEIPT_OVERDUE", subject, row["deadline_us"], period=row["period"])

    def node(self, reading: ReadTx) -> Iterator[rpc.Repair]:
        """What concerns this node: journal, legal bases, disk."""
        since = unsigned_since(reading)
        if since is not None and reading.now_us - since >= _UNSIGNED_US:
            yield _repair("JOURNAL_UNSIGNED", "", since, minutes=(reading.now_us - since) // 60_000_000)
        if self._settings.legal_bases_key is None:
            yield _repair("BASES_UNSIGNED", Path(self._settings.legal_bases).name)
        folder = Path(self._settings.store.keyring).parent
        size, free = self._free(folder)
        if (percent := free * 100 // max(size, 1)) < self._settings.repairs.disk_percent:
            yield _repair("DISK_FULL", "", percent=percent, file=folder)


def _disk(folder: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(folder)
    return usage.total, usage.free


def _repair(code: str, subject: str, since_us: int = 0, **values: object) -> rpc.Repair:
    severity, zh, en, mend = TEXTS[code]
    zh, en, mend = (text.format(subject=subject, **values) for text in (zh, en, mend))
    return rpc.Repair(
        code=code, severity=severity, subject=subject, since_us=int(since_us), text_zh=zh, text_en=en, mend=mend
    )
