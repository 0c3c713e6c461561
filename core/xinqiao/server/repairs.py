"""What an administrator must mend: one list, computed from what is there whenever somebody asks."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel

from xinqiao.adapters import deprecation
from xinqiao.adapters.agency import AgencyHandle
from xinqiao.adapters.host import AdapterHost
from xinqiao.adapters.manifest import manifest_file
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.config.district import RepairTerms
from xinqiao.config.document import read_document
from xinqiao.config.problems import Finding, Loc, Problem
from xinqiao.config.settings import Gateway as Settings
from xinqiao.contract.clock import BEIJING, to_us
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.documents.template import Catalogue
from xinqiao.journal.checkpoint import unsigned_since
from xinqiao.server import repair_store as stored
from xinqiao.server.identity import certificate
from xinqiao.server.repair_texts import repair
from xinqiao.store import tables
from xinqiao.store.tx import ReadTx

_DAY_US: Final = 86_400_000_000
_UNSIGNED_US: Final = 300_000_000  # as the status: five checkpoints missed
_US: Final = timedelta(microseconds=1)
_LARGEST: Final = 65_536  # bytes of a file of certificates
_BEGINS: Final = b"-----BEGIN CERTIFICATE-----"


class Repairs:
    """``ListRepairs``. Nothing is kept but when the disk was first seen full: what was mended is not on the next list."""

    def __init__(
        self, settings: Settings, agencies: Mapping[str, AgencyHandle], door: Door, terms: Callable[[], RepairTerms],
        seen: Mapping[str, int], forms: Catalogue | None, free: Callable[[Path], tuple[int, int]] | None = None,
        host: AdapterHost | None = None,
    ) -> None:  # fmt: skip
        """``seen`` says when the certificate ends with which a partner last called, microseconds since 1970 UTC;
        ``free`` the size of a folder's disk and what is free, bytes."""
        self._settings, self._agencies, self._door, self._terms = settings, agencies, door, terms
        self._seen, self._forms, self._free = seen, forms, free or _disk
        self._full_since = 0
        self._host = host

    def list_repairs(self, request: rpc.ListRepairsRequest, call: Call) -> rpc.ListRepairsResponse:
        """The most urgent first, then the oldest."""
        reading, terms = call.reading, self._terms()
        found = [
            *self._adapters(reading), *self.plugins(), *self.certificates(reading.now_us), *self.agreements(reading),
            *self.law(reading.now_us), *stored.dead_letters(reading), *stored.not_taken(reading, self._places()),
            *stored.broken_rules(reading, self.place().file), *stored.open_runs(reading),
            *stored.open_books(reading),
            *stored.silent(reading, self._agencies, self._door.registry, terms),
            *stored.ending_consents(reading, terms), *stored.many_overrides(reading, terms), *self.node(reading),
        ]  # fmt: skip
        for each in found:
            # A file's time is the machine's, and a story may play in another month: nothing begins later than now.
            each.since_us = min(each.since_us, reading.now_us)
        found.sort(key=lambda each: (-each.severity, each.since_us or reading.now_us, each.code, each.subject))
        return rpc.ListRepairsResponse(repairs=found)

    def place(self, *loc: str | int) -> Problem:
        """Where a key of gateway.yaml stands, or the nearest around it."""
        return self._settings.problem(Finding(loc, "CONFIG/VALUE", ""))

    def _beside(self, there: str, key: str) -> str:
        """Where ``key`` belongs that may be absent: at the line of its neighbour."""
        return _shown(replace(self.place(there), key=key))

    def _places(self) -> Mapping[str, tuple[str, str]]:
        return {
            agency: (handle.kind, _shown(self.place("adapters", agency, "settings")))
            for agency, handle in self._agencies.items()
        }

    def _adapters(self, reading: ReadTx) -> Iterator[rpc.Repair]:
        for agency, handle in self._agencies.items():
            since = stored.waiting_since(reading, agency) or handle.ailing_since_us
            if handle.blocked:
                yield repair("PLUGIN_BLOCKED", agency, since, why=handle.message, kind=handle.kind)
            elif handle.state == rpc.AGENCY_STATE_FAILED:
                place = _shown(self.place("adapters", agency))
                yield repair("ADAPTER_FAILED", agency, since, why=handle.message, place=place)
            elif handle.state == rpc.AGENCY_STATE_RETRYING:
                yield repair("ADAPTER_RETRYING", agency, since, why=handle.message)

    def plugins(self) -> Iterator[rpc.Repair]:
        """Loaded plugins that use what goes from the plugin API, or were written for an older one."""
        if self._host is None:
            return
        for name, kind in self._host.kinds.items():
            manifest = self._host.manifests[name]
            for use in deprecation.uses(kind, manifest, deprecation.DEPRECATED):
                what, since = use.what, to_us(datetime.combine(use.what.announced, time(), BEIJING))
                yield repair(
                    "PLUGIN_DEPRECATED", name, since, what=what.what, gone=what.gone, instead_zh=what.zh,
                    instead_en=what.en, place=f"{use.file}:{use.line}: {what.what.partition('.')[2]}",
                )  # fmt: skip
            if manifest.api < deprecation.API:
                since = _changed_us(manifest_file(f"xinqiao_{name}"))
                yield repair("PLUGIN_API_OLD", name, since, api=manifest.api, now=deprecation.API, kind=name)

    def certificates(self, now_us: int) -> Iterator[rpc.Repair]:
        """Those this gateway shows and checks with, those its adapters use, and those of the partners where known."""
        tls = self._settings.server.tls
        for key, path in (("certificate", Path(tls.certificate)), ("ca", Path(tls.ca))):
            place = _shown(self.place("server", "tls", key))
            yield from self._certificate(path.name, path, _ends_us(path), now_us, place)
        for agency, entry in self._settings.adapters.items():
            for loc, path in _files(entry.settings, ("adapters", agency, "settings")):
                if _holds_certificates(path):
                    yield from self._certificate(agency, path, _ends_us(path), now_us, _shown(self.place(*loc)))
        for partner in self._door.registry.all():
            path = Path(tls.ca).parent / "partners" / f"{partner.id}.pem"
            ends_us = self._seen.get(partner.id) or (_ends_us(path) if path.exists() else None)
            if ends_us is not None:
                place = _shown(self.place("partners", partner.id, "spiffe"))
                yield from self._certificate(partner.id, path, ends_us, now_us, place)

    def _certificate(
        self, subject: str, path: Path, ends_us: int | None, now_us: int, place: str
    ) -> Iterator[rpc.Repair]:
        if ends_us is None:
            yield repair("CERTIFICATE_UNREADABLE", subject, _changed_us(path), place=place)
        else:
            ahead_us = self._settings.repairs.certificate_days * _DAY_US
            yield from _ending("CERTIFICATE", subject, ends_us, now_us, ahead_us, place)

    def agreements(self, reading: ReadTx) -> Iterator[rpc.Repair]:
        """Of every partner; since when the operator knows of an end that is near."""
        ahead_us = self._settings.repairs.agreement_days * _DAY_US
        for partner in self._door.registry.all():
            held = reading.get(tables.holdings, f"agreements/{partner.id}")
            place = _shown(self.place("partners", partner.id, "agreement", "valid_to"))
            known_us = int(held["opened_us"]) if held is not None else 0
            ends_us, now_us = partner.agreement_to_us, reading.now_us
            yield from _ending("AGREEMENT", partner.id, ends_us, now_us, ahead_us, place, known_us)

    def law(self, now_us: int) -> Iterator[rpc.Repair]:
        """Legal bases and forms whose time is over or soon will be, and what nobody has signed."""
        ahead_us = self._terms().law_notice // _US
        bases = Path(self._settings.legal_bases)
        for index, basis in enumerate(self._door.bases.values()):
            if basis.end is not None:
                place = _line(bases, ("bases", index, "effective_to"))
                yield from _ending("BASIS", basis.id, _after_us(basis.end), now_us, ahead_us, place)
        for form in self._forms.templates.values() if self._forms is not None else ():
            if form.valid_to is not None and self._settings.documents is not None:
                place = _line(Path(self._settings.documents) / f"{form.id}.yaml", ("valid_to",))
                yield from _ending("FORM", form.form_version, _after_us(form.valid_to), now_us, ahead_us, place)
        if self._settings.legal_bases_key is None:
            place = self._beside("legal_bases", "legal_bases_key")
            yield repair("BASES_UNSIGNED", bases.name, _changed_us(bases), place=place)
        key = self._settings.document_key
        if self._forms is not None and (key is None or not Path(key).exists()):
            since = _changed_us(Path(key) if key is not None else Path(self.place().file))
            yield repair("NOTICES_UNSIGNED", "", since, place=self._beside("documents", "document_key"))

    def node(self, reading: ReadTx) -> Iterator[rpc.Repair]:
        """What concerns this node: journal, disk."""
        since = unsigned_since(reading)
        if since is not None and reading.now_us - since >= _UNSIGNED_US:
            yield repair("JOURNAL_UNSIGNED", "", since, minutes=(reading.now_us - since) // 60_000_000)
        folder = Path(self._settings.store.keyring).parent
        size, free = self._free(folder)
        if (percent := free * 100 // max(size, 1)) < self._settings.repairs.disk_percent:
            self._full_since = self._full_since or reading.now_us
            yield repair("DISK_FULL", "", self._full_since, percent=percent, file=folder)
        else:
            self._full_since = 0


def _ending(
    kind: str, subject: str, ends_us: int, now_us: int, ahead_us: int, place: str, known_us: int = 0
) -> Iterator[rpc.Repair]:
    """`KIND_ENDED` since its end, or `KIND_ENDS` when that is less than ``ahead_us`` away: since it came so near."""
    left_us = ends_us - now_us
    if left_us <= 0:
        yield repair(f"{kind}_ENDED", subject, ends_us, days=-left_us // _DAY_US, place=place)
    elif left_us < ahead_us:
        yield repair(f"{kind}_ENDS", subject, known_us or ends_us - ahead_us, days=left_us // _DAY_US, place=place)


def _after_us(last: date) -> int:
    """The end of a last day."""
    return to_us(datetime.combine(last + timedelta(days=1), time(), BEIJING))


def _shown(problem: Problem) -> str:
    """`gateway.yaml:42: partners.hospital`; without a line where the settings came from no file."""
    where = f"{problem.file}:{problem.line}" if problem.line else "gateway.yaml"
    return f"{where}: {problem.key}" if problem.key else where


def _line(path: Path, loc: Loc) -> str:
    return _shown(read_document(path).problem(Finding(loc, "CONFIG/VALUE", "")))


def _files(model: BaseModel, loc: Loc) -> Iterator[tuple[Loc, Path]]:
    """Every path in an adapter's settings, with its place."""
    for name in type(model).model_fields:
        yield from _paths(getattr(model, name), (*loc, name))


def _paths(value: object, loc: Loc) -> Iterator[tuple[Loc, Path]]:
    if isinstance(value, Path):
        yield loc, value
    elif isinstance(value, BaseModel):
        yield from _files(value, loc)
    elif isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        yield from chain.from_iterable(_paths(item, (*loc, key)) for key, item in items)
    elif isinstance(value, (list, tuple)):
        several = enumerate(cast("list[object]", value))
        yield from chain.from_iterable(_paths(item, (*loc, index)) for index, item in several)


def _holds_certificates(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _LARGEST and _BEGINS in path.read_bytes()
    except OSError:
        return False


def _ends_us(path: Path) -> int | None:
    """When the first certificate in a file ends; None where it cannot be read."""
    try:
        return certificate(path.read_bytes())[1]
    except (OSError, ValueError):
        return None


def _changed_us(path: Path) -> int:
    """When a file became what it is; of one that is not there, when its folder lost it, or whatever happened there last."""
    for there in (path, *path.parents):
        try:
            return there.stat().st_mtime_ns // 1000
        except OSError:
            continue
    return 0


def _disk(folder: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(folder)
    return usage.total, usage.free
