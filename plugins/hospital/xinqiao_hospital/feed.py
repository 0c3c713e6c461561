"""The hospital's Tasks as a feed: every version that says something new, once, in order."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import quote

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.api.adapter.v1.adapter_service_pb2 import Origin, ReadResponse, ReferralUpdate, Rejected
from xinqiao.contract.clock import to_us
from xinqiao_hospital import codes
from xinqiao_hospital.client import FhirClient
from xinqiao_hospital.recall import answer_of, is_recall
from xinqiao_hospital.register import Register
from xinqiao_hospital.states import TaskRefused, check_task, other_subject, resume_of, update_of, written_after
from xinqiao_hospital.wire import Json, Parsed, as_list, as_object, as_text

_TIMEOUT_S = 30.0
_PAGE = 50
_MAX_PAGES = 1000
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2})")
_FRACTION = re.compile(r"\.([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Mark:
    """A cursor: the newest ``lastUpdated`` taken, and the ``id/version`` taken at that instant.

    The query asks for that instant again, because two Tasks of one instant may become visible one after the other.
    ``within`` is the ``id/version`` up to which a Task was given whose newest version is still to come.
    """

    updated: str = ""
    us: int = 0
    taken: frozenset[str] = field(default_factory=lambda: frozenset[str]())
    within: str = ""

    @classmethod
    def parse(cls, cursor: str) -> "Mark":
        """Read a cursor this module wrote. Raises PartnerRefused for any other text."""
        whole, _, within = cursor.partition("!")
        if not whole:
            return cls(within=within)
        updated, _, taken = whole.partition("|")
        us = _instant_us(updated)
        if us is None:
            raise PartnerRefused("DATA/CURSOR", "the cursor is not one of this adapter; read from the beginning")
        return cls(updated, us, frozenset(taken.split(",")) - {""}, within)

    def after(self, version: "Version") -> "Mark":
        taken = self.taken if version.us == self.us else frozenset[str]()
        within = "" if self.within.startswith(f"{version.id}/") else self.within
        return Mark(version.updated, version.us, taken | {version.key}, within)

    def __str__(self) -> str:
        whole = f"{self.updated}|{','.join(sorted(self.taken))}" if self.updated else ""
        return f"{whole}!{self.within}" if self.within else whole


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a Task as found, with what was wrong with its JSON."""

    task: Json
    id: str
    number: str
    updated: str
    us: int
    fault: Rejected | None

    @property
    def key(self) -> str:
        return f"{self.id}/{self.number}"

    @property
    def source(self) -> str:
        return f"Task/{self.id}/_history/{self.number}"


class TaskFeed:
    """Reads Tasks by search and, where the server offers it, the versions between two looks by history."""

    def __init__(self, client: FhirClient, register: Register | None = None) -> None:
        self._client = client
        self._register = register
        self._cursor = ""
        self._given: dict[str, str] = {}

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """Yield what is newer than ``cursor``. An item's cursor is safe to keep once the next item is asked for."""
        mark = Mark.parse(cursor)
        if cursor != self._cursor:
            # Another starting point than where this object left off: what was given before may be wanted again.
            self._given.clear()
            if mark.within:
                id_, _, number = mark.within.partition("/")
                self._given[id_] = number
        for found in self._changed(mark):
            if isinstance(found, Rejected):
                self._cursor = str(mark)
                yield ReadResponse(cursor=self._cursor, rejected=found)
                continue
            if found.us < mark.us or (found.us == mark.us and found.key in mark.taken):
                continue
            before, mark = mark, mark.after(found)
            news = list(self._news(found))
            for index, (number, item) in enumerate(news):
                # Older versions of this Task: only with the last of them may the cursor move past the Task.
                last = index + 1 == len(news)
                if not last and news[index + 1][0] != number:
                    before = replace(before, within=f"{found.id}/{number}")
                self._cursor = str(mark if last else before)
                item.cursor = self._cursor
                yield item
            self._given[found.id] = found.number

    def _changed(self, mark: Mark) -> Iterator[Version | Rejected]:
        since = f"&_lastUpdated=ge{quote(mark.updated, safe='')}" if mark.updated else ""
        ours = ",".join(f"{quote(system, safe='')}%7C" for system in (codes.REFERRAL, codes.RECALL))
        query = f"Task?identifier={ours}{since}&_sort=_lastUpdated&_count={_PAGE}"
        url: str | None = f"{self._client.base}/{query}"
        newest, seen = 0, set[str]()
        for _ in range(_MAX_PAGES):
            if url is None:
                return
            page = self._client.get(url, _TIMEOUT_S)
            found = _versions(page)
            yield from (item for item in found if isinstance(item, Rejected))
            for version in sorted((v for v in found if isinstance(v, Version)), key=lambda v: (v.us, v.id)):
                if version.key in seen:
                    continue
                if version.us < newest:
                    raise PartnerRefused(
                        "PARTNER/ORDER", "the hospital does not sort by _lastUpdated; nothing may be lost"
                    )
                newest = version.us
                seen.add(version.key)
                yield version
            url = self._next(page)

    def _next(self, page: Parsed) -> str | None:
        for link in as_list(as_object(page.value).get("link")):
            if as_object(link).get("relation") == "next":
                url = as_text(as_object(link).get("url"))
                if not url.startswith((f"{self._client.base}/", f"{self._client.base}?")):
                    raise PartnerRefused("DATA/REFERENCE", "the next page is not below base_url; set the server's base")
                return url
        return None

    def _news(self, current: Version) -> Iterator[tuple[str, ReadResponse]]:
        """What the versions of one Task not given yet say, oldest first, each with its version."""
        history = self._history(current)
        given = self._given.get(current.id, "")
        numbers = [version.number for version in history]
        start = numbers.index(given) + 1 if given in numbers else 0
        for index in range(start, len(history)):
            version = history[index]
            for item in placed(version.source, version.id, _said(version, history[:index], self._register)):
                yield version.number, item

    def _history(self, current: Version) -> list[Version]:
        if current.fault is not None or current.number == "1":
            return [current]
        page = self._client.get_if_offered(f"{self._client.base}/Task/{current.id}/_history?_count=100", _TIMEOUT_S)
        found = [v for v in _versions(page) if isinstance(v, Version) and v.id == current.id] if page else []
        older = {v.number: v for v in found if v.us <= current.us and v.number != current.number}
        return [*sorted(older.values(), key=lambda v: (v.us, len(v.number), v.number)), current]


def placed(source: str, task: str, items: Iterable[ReadResponse]) -> list[ReadResponse]:
    """What one version of a Task says; a later version corrects it."""
    found = list(items)
    for item in found:
        item.origin.CopyFrom(Origin(source=source, places=["Task"], series=f"Task/{task}"))
    if found:
        found[-1].origin.last = True
    return found


def _said(version: Version, earlier: Sequence[Version], register: Register | None) -> Iterator[ReadResponse]:
    if version.fault is not None:
        yield ReadResponse(rejected=version.fault)
        return
    if is_recall(version.task):
        yield from _recalled(version)
        return
    before = earlier[-1] if earlier else None
    if before is not None and written_after(version.task) == before.number:
        return
    try:
        check_task(version.task)
        resumed = resume_of(version.task, before.task) if before is not None else None
        update = update_of(version.task)
        sent = register.sent(update.referral) if register is not None and update is not None else None
        if sent is not None and other_subject(version.task, sent.student):
            raise TaskRefused("DATA/SUBJECT_MISMATCH", "the Task is about another student than the referral", "for")
    except TaskRefused as e:
        yield ReadResponse(
            rejected=Rejected(source=version.source, place=f"Task.{e.place}", reason=e.reason, message=e.message)
        )
        return
    if resumed is not None:
        resumed.source = f"{version.source}#resume"
        yield ReadResponse(referral=resumed)
    if update is not None and update != _last_said(version, earlier):
        update.source = version.source
        yield ReadResponse(referral=update)


def _recalled(version: Version) -> Iterator[ReadResponse]:
    try:
        check_task(version.task)
        answer = answer_of(version.task)
    except TaskRefused as e:
        yield ReadResponse(
            rejected=Rejected(source=version.source, place=f"Task.{e.place}", reason=e.reason, message=e.message)
        )
        return
    if answer is not None:
        answer.source = version.source
        yield ReadResponse(recall_receipt=answer)


def _last_said(version: Version, earlier: Sequence[Version]) -> ReferralUpdate | None:
    """What stood before: for a Task that goes on after a pause, what stood before the pause."""
    held = version.task.get("status") == "on-hold"
    for before in reversed(earlier):
        if held or before.task.get("status") != "on-hold":
            try:
                check_task(before.task)
                return update_of(before.task) if before.fault is None else None
            except TaskRefused:
                return None
    return None


def _versions(page: Parsed) -> list[Version | Rejected]:
    bundle = as_object(page.value)
    if bundle.get("resourceType") != "Bundle":
        raise PartnerRefused("DATA/PROFILE", "the answer to a search must be a Bundle")
    faults: dict[int, Rejected] = {}
    for problem in page.problems:
        if len(problem.path) < 2 or problem.path[0] != "entry" or not isinstance(problem.path[1], int):
            raise PartnerRefused(problem.reason, f"the hospital's answer at {problem.place}: {problem.message}")
        faults[problem.path[1]] = Rejected(place=problem.place, reason=problem.reason, message=problem.message)
    found: list[Version | Rejected] = []
    for index, entry in enumerate(as_list(bundle.get("entry"))):
        if as_object(as_object(entry).get("search")).get("mode", "match") == "match":
            found.append(_version(as_object(as_object(entry).get("resource")), index, faults.get(index)))
    return found


def _version(task: Json, index: int, fault: Rejected | None) -> Version | Rejected:
    meta = as_object(task.get("meta"))
    id_, number, updated = as_text(task.get("id")), as_text(meta.get("versionId")), as_text(meta.get("lastUpdated"))
    us = _instant_us(updated)
    if us is None or not _ID.fullmatch(id_) or not _ID.fullmatch(number):
        why = "a Task needs id, meta.versionId and meta.lastUpdated"
        return Rejected(source="Task", place=f"entry[{index}].resource.meta", reason="DATA/PROFILE", message=why)
    if fault is not None:
        fault.source = f"Task/{id_}/_history/{number}"
    return Version(task, id_, number, updated, us, fault)


def _instant_us(text: str) -> int | None:
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return to_us(datetime.fromisoformat(_FRACTION.sub(lambda m: f".{m.group(1)[:6]:0<6}", text)))
    except ValueError:
        return None
