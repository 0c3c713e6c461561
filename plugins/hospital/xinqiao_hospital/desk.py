"""What the hospital may push: its Tasks of referrals it was sent. Judged whole, spooled, then answered.

The gateway is the server here, so ``ETag`` and ``If-Match`` speak of the versions this desk has counted. Nothing is
ever read back: neither a Task nor a ServiceRequest can be fetched from it.
"""

import hashlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, uuid5

from xinqiao.adapters.spool import Spool, SpoolFull
from xinqiao_hospital import codes
from xinqiao_hospital.patch import PatchRefused, patched
from xinqiao_hospital.r4 import Fault, faults, references, without_narrative
from xinqiao_hospital.register import Head, Register
from xinqiao_hospital.states import (
    TaskRefused,
    business_code,
    check_task,
    other_subject,
    referral_name,
    update_of,
    written_after,
)
from xinqiao_hospital.wire import Json, JsonRefused, as_list, as_object, as_text, dump, is_object, parse

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_ETAG = re.compile(r'(?:W/)?"(?P<version>[0-9]{1,12})"')
_REFERENCE = re.compile(
    r"#[A-Za-z0-9.-]{1,64}|[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?"
    r"|urn:(?:uuid:[0-9a-f-]{36}|oid:[0-9.]{1,200})"
)
_CONDITIONS = ("ifMatch", "ifNoneMatch", "ifNoneExist", "ifModifiedSince")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. ``etag`` is the version now known; ``retry_s`` asks the hospital to come back."""

    status: int
    body: Json
    etag: str = ""
    retry_s: int = 0


@dataclass(frozen=True, slots=True)
class _Pushed:
    """One Task of a request with what was asked of it; ``place`` is empty where it is the whole request."""

    id: str
    task: Json
    if_match: str
    place: str = ""


@dataclass(slots=True)
class _Verdict:
    faults: list[Fault] = field(default_factory=list[Fault])
    status: int = 422
    head: Head | None = None
    fresh: bool = False
    late: bool = False
    key: str = ""


class Desk:
    """Takes pushes of one hospital, one at a time; every answer of 2xx is for something on disk.

    ``bases`` are the addresses under which references may stand: the hospital's own. None is ever followed.
    """

    def __init__(self, spool: Spool, register: Register, bases: Sequence[str] = ()) -> None:
        self._spool = spool
        self._register = register
        self._bases = tuple(f"{base.rstrip('/')}/" for base in bases)
        self._lock = threading.Lock()

    def put(self, id_: str, body: bytes, if_match: str = "") -> Reply:
        """``PUT Task/{id}``: 201 for the first version known here, 200 for the next ones and for a repeat."""
        task = _resource(body)
        if isinstance(task, Reply):
            return task
        return self._take([_Pushed(id_, task, if_match)])

    def patch(self, id_: str, body: bytes, if_match: str = "") -> Reply:
        """``PATCH Task/{id}`` with a JSON Patch of status, business status, reason, period or outputs."""
        with self._lock:
            head = self._register.head(id_)
        referral = head.referral if head else self._register.referral_of(id_)
        if not referral:
            return refused(404, Fault("DATA/UNKNOWN_REFERRAL", "not-found", "no Task of this id is known; PUT it", ""))
        try:
            task = patched(_base(id_, referral, head), parse(body).clean())
        except JsonRefused as e:
            return refused(400, Fault(e.reason, "structure", e.message, e.place))
        except PatchRefused as e:
            return refused(422, Fault("DATA/PATCH", "processing", e.message, e.place))
        return self._take([_Pushed(id_, task, if_match)])

    def bundle(self, body: bytes, *, message: bool = False) -> Reply:
        """A transaction of ``PUT Task/{id}`` or a message with Tasks: all of it is taken or none."""
        bundle = _resource(body)
        if isinstance(bundle, Reply):
            return bundle
        kind = as_text(bundle.get("type"))
        if bundle.get("resourceType") != "Bundle" or kind not in (
            ("message",) if message else ("transaction", "message")
        ):
            what = "a Bundle of type message" if message else "a Bundle of type transaction or message"
            return refused(422, Fault("DATA/PROFILE", "not-supported", f"send {what}", "Bundle.type"))
        found = faults(bundle, "Bundle")
        if found:
            return refused(413 if found[0].code == "too-long" else 422, *found)
        entries = [as_object(entry) for entry in as_list(bundle.get("entry"))]
        pushed, wrong = _in_transaction(entries) if kind == "transaction" else _in_message(entries)
        if wrong:
            return refused(422, *wrong)
        reply = self._take(pushed)
        if reply.status >= 300 or kind == "transaction":
            return reply
        return Reply(reply.status, _message_answer(as_object(entries[0]["resource"])))

    def _take(self, pushed: list[_Pushed]) -> Reply:
        with self._lock:
            verdicts = [self._judge(one) for one in pushed]
            wrong = [fault for verdict in verdicts for fault in verdict.faults]
            if wrong:
                return refused(max(verdict.status for verdict in verdicts if verdict.faults), *wrong)
            fresh = [(one, verdict) for one, verdict in zip(pushed, verdicts, strict=True) if verdict.fresh]
            if fresh:
                try:
                    late = self._keep(fresh)
                except (SpoolFull, OSError):
                    later = Fault("PARTNER/BUSY", "transient", "it cannot be kept now; send it again later", "")
                    return Reply(503, outcome(later), retry_s=30)
                if late is not None:
                    return late
        return _accepted(pushed, verdicts)

    def _keep(self, fresh: list[tuple[_Pushed, _Verdict]]) -> Reply | None:
        """Spool first, then count: a crash between the two makes the repeat the same item, never a second one."""
        tasks = [
            {"task": without_narrative(one.task)[0], **({} if verdict.late else self._before(one.id))}
            for one, verdict in fresh
        ]
        key = "\n".join(verdict.key for _, verdict in fresh)
        if self._spool.put(key, dump({"tasks": tasks})) == "other":
            why = "this version of the Task came before with other content"
            return refused(409, Fault("DATA/VERSION", "conflict", why, "Task.meta.versionId"))
        self._register.move(*(verdict.head for _, verdict in fresh if verdict.head is not None))
        return None

    def _before(self, id_: str) -> Json:
        head = self._register.head(id_)
        return {"before": head.status, "business": head.business} if head else {}

    def _judge(self, one: _Pushed) -> _Verdict:
        verdict = _Verdict()
        head = self._register.head(one.id)
        place = one.place or "Task"
        if one.task.get("id") != one.id:
            verdict.faults = [Fault("DATA/IDENTIFIER", "invalid", "id and address must be the same", f"{place}.id")]
            verdict.status = 400
            return verdict
        if not one.place:
            verdict.faults = faults(one.task, place)
        if not verdict.faults:
            verdict.faults = self._content(one, place)
        if verdict.faults:
            return verdict
        if (wrong := _unmatched(one.if_match, head, place)) is not None:
            verdict.faults, verdict.status = [wrong], 412
            return verdict
        self._versioned(one, head, place, verdict)
        return verdict

    def _versioned(self, one: _Pushed, head: Head | None, place: str, verdict: _Verdict) -> None:
        digest = hashlib.sha256(dump(_stable(one.task))).hexdigest()
        theirs = as_text(as_object(one.task.get("meta")).get("versionId"))
        verdict.head = head
        if head is not None and (head.theirs, head.digest) == (theirs, digest):
            return
        number = head.version + 1 if head else 1
        # Without their number ours stands in: the same words may come again later and mean a new change.
        verdict.key = f"Task/{one.id}/{theirs}" if theirs else f"Task/{one.id}#{number}#{digest}"
        if head is not None and theirs and head.theirs == theirs:
            why = "this version of the Task came before with other content"
            verdict.faults, verdict.status = [Fault("DATA/VERSION", "conflict", why, f"{place}.meta.versionId")], 409
            return
        verdict.fresh = True
        if head is not None and _older(theirs, head.theirs):
            verdict.late = True  # The core is told and decides; what is newest here stays so.
            # Spooled without what stood before it, so a repeat of what came in time is other content under that key.
            verdict.key += "#late"
            return
        status, business = as_text(one.task.get("status")), business_code(one.task)
        verdict.head = Head(one.id, number, theirs, digest, status, business, referral_name(one.task))

    def _content(self, one: _Pushed, place: str) -> list[Fault]:
        foreign = [path for path, reference in references(one.task) if not self._own(reference)]
        if foreign:
            why = "only a contained resource or one of the hospital's own is named, and none is ever fetched"
            return [Fault("DATA/REFERENCE", "value", why, f"{place}.{path}") for path in foreign]
        try:
            check_task(one.task)
            name = referral_name(one.task)
            update_of(one.task)
        except TaskRefused as e:
            return [Fault(e.reason, "business-rule", e.message, f"{place}.{e.place}")]
        sent = self._register.sent(name)
        if sent is None:
            why = "no referral of this name was sent to this hospital"
            return [Fault("DATA/UNKNOWN_REFERRAL", "not-found", why, f"{place}.identifier")]
        if other_subject(one.task, sent.student):
            why = "the Task is about another student than the referral"
            return [Fault("DATA/SUBJECT_MISMATCH", "business-rule", why, f"{place}.for")]
        return []

    def _own(self, reference: str) -> bool:
        for base in self._bases:
            reference = reference.removeprefix(base)
        return _REFERENCE.fullmatch(reference) is not None


def refused(status: int, *found: Fault) -> Reply:
    """An answer that says what is wrong, one issue each."""
    return Reply(status, outcome(*found))


def outcome(*found: Fault) -> Json:
    """An OperationOutcome; texts are ours, values of the request are in none of them."""
    issues: list[Json] = []
    for fault in found:
        issue: Json = {
            "severity": "error",
            "code": fault.code,
            "details": {"coding": [{"system": codes.REASON, "code": fault.reason}], "text": fault.message},
        }
        if fault.place:
            issue["expression"] = [fault.place]
        issues.append(issue)
    return {"resourceType": "OperationOutcome", "issue": issues or [_done("taken")]}


def _done(text: str) -> Json:
    return {"severity": "information", "code": "informational", "details": {"text": text}}


def _accepted(pushed: list[_Pushed], verdicts: list[_Verdict]) -> Reply:
    first = [verdict.head is not None and verdict.head.version == 1 and verdict.fresh for verdict in verdicts]
    if len(pushed) == 1 and not pushed[0].place:
        head = verdicts[0].head
        return Reply(201 if first[0] else 200, outcome(), etag=f'W/"{head.version if head else 1}"')
    entries: list[Json] = []
    for one, verdict, new in zip(pushed, verdicts, first, strict=True):
        version = verdict.head.version if verdict.head else 1
        response: Json = {"status": "201 Created" if new else "200 OK", "etag": f'W/"{version}"'}
        entries.append({"response": {**response, "location": f"Task/{one.id}/_history/{version}"}})
    return Reply(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries})


def _unmatched(if_match: str, head: Head | None, place: str) -> Fault | None:
    if not if_match:
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is not None and head is not None and int(found["version"]) == head.version:
        return None
    return Fault(
        "DATA/VERSION", "conflict", "If-Match is not the version known here; leave it out or correct it", place
    )


def _older(theirs: str, known: str) -> bool:
    return theirs.isdigit() and known.isdigit() and int(theirs) < int(known)


def _stable(task: Json) -> Json:
    """The Task without what a server writes anew at each look."""
    meta = {key: value for key, value in as_object(task.get("meta")).items() if key != "lastUpdated"}
    return {**{key: value for key, value in task.items() if key not in ("text", "meta")}, "meta": meta}


def _base(id_: str, referral: str, head: Head | None) -> Json:
    identifier: Json = {"system": codes.REFERRAL, "value": referral}
    task: Json = {"resourceType": "Task", "id": id_, "identifier": [identifier], "intent": "order"}
    task["status"] = head.status if head else "requested"
    business = head.business if head else "2.0"
    if business:
        system = codes.BUSINESS_STATUS if business in codes.BUSINESS_STATUS_DISPLAY else codes.WAITLIST
        task["businessStatus"] = {"coding": [{"system": system, "code": business}]}
    return task


def _resource(body: bytes) -> Json | Reply:
    try:
        found: object = parse(body).clean()
    except JsonRefused as e:
        return refused(400, Fault(e.reason, "structure", e.message, e.place))
    if not is_object(found):
        return refused(
            400, Fault("DATA/PROFILE", "structure", "not a FHIR resource: the body must be a JSON object", "$")
        )
    return found


def _in_transaction(entries: Sequence[Json]) -> tuple[list[_Pushed], list[Fault]]:
    pushed: list[_Pushed] = []
    wrong: list[Fault] = []
    for index, entry in enumerate(entries):
        request, place = as_object(entry.get("request")), f"Bundle.entry[{index}]"
        kind, _, id_ = as_text(request.get("url")).partition("/")
        resource = as_object(entry.get("resource"))
        conditions = set(_CONDITIONS[1:]) & set(request)
        if request.get("method") != "PUT" or kind != "Task" or not _ID.fullmatch(id_) or conditions:
            why = "only PUT Task/{id} is taken, with ifMatch or without"
            wrong.append(Fault("DATA/PROFILE", "not-supported", why, f"{place}.request"))
        elif resource.get("resourceType") != "Task":
            wrong.append(Fault("DATA/PROFILE", "not-supported", "only a Task is taken", f"{place}.resource"))
        else:
            match = as_text(request.get("ifMatch"))
            pushed.append(_Pushed(id_, _inlined(resource, entries), match, f"{place}.resource"))
    return pushed, wrong or _twice(pushed)


def _in_message(entries: Sequence[Json]) -> tuple[list[_Pushed], list[Fault]]:
    header = as_object(as_object(entries[0]).get("resource")) if entries else {}
    if header.get("resourceType") != "MessageHeader":
        why = "the first entry of a message is its MessageHeader"
        return [], [Fault("DATA/PROFILE", "required", why, "Bundle.entry[0].resource")]
    pushed: list[_Pushed] = []
    for index, entry in enumerate(entries):
        resource = as_object(entry.get("resource"))
        if resource.get("resourceType") == "Task":
            place = f"Bundle.entry[{index}].resource"
            pushed.append(_Pushed(as_text(resource.get("id")), _inlined(resource, entries), "", place))
    nameless = [
        Fault("DATA/REQUIRED", "required", "the Task needs its id", f"{p.place}.id") for p in pushed if not p.id
    ]
    if not pushed:
        nameless = [Fault("DATA/REQUIRED", "required", "a message without a Task says nothing here", "Bundle.entry")]
    return pushed, nameless or _twice(pushed)


def _twice(pushed: Sequence[_Pushed]) -> list[Fault]:
    ids = [one.id for one in pushed]
    why = "a Task stands in the Bundle twice"
    return [Fault("DATA/DUPLICATE", "duplicate", why, f"{p.place}.id") for n, p in enumerate(pushed) if p.id in ids[:n]]


def _inlined(task: Json, entries: Sequence[Json]) -> Json:
    """The Task with what its outputs and subject name elsewhere in the same Bundle put inside it."""
    beside = {as_text(e.get("fullUrl")): as_object(e.get("resource")) for e in entries if e.get("fullUrl")}
    inside: list[Json] = []

    def turned(reference: object) -> object:
        url = as_text(as_object(reference).get("reference"))
        if url not in beside or beside[url] is task:
            return reference
        inside.append({**beside[url], "id": f"beside{len(inside) + 1}"})
        inside[-1].pop("contained", None)
        return {**as_object(reference), "reference": f"#{inside[-1]['id']}"}

    changed: Json = dict(task)
    changed["output"] = [
        {**item, "valueReference": turned(item["valueReference"])} if "valueReference" in item else item
        for item in map(as_object, as_list(task.get("output")))
    ]
    for name in ("for", "focus", "requester", "owner"):
        if name in task:
            changed[name] = turned(task[name])
    if not changed["output"]:
        del changed["output"]
    if inside:
        changed["contained"] = [*as_list(task.get("contained")), *inside]
    return changed


def _message_answer(header: Json) -> Json:
    id_ = as_text(header.get("id")) or "0"
    answer: Json = {
        "resourceType": "MessageHeader",
        **{key: header[key] for key in ("eventCoding", "eventUri") if key in header},
        "source": {"endpoint": "urn:xinqiao:gateway"},
        "response": {"identifier": id_, "code": "ok"},
    }
    url = f"urn:uuid:{uuid5(NAMESPACE_URL, f'urn:xinqiao:message:{id_}')}"
    return {"resourceType": "Bundle", "type": "message", "entry": [{"fullUrl": url, "resource": answer}]}


def is_own_write(task: Json) -> bool:
    """Whether this version of a Task is what the gateway itself wrote into the hospital's server, come back."""
    before, version = written_after(task), as_text(as_object(task.get("meta")).get("versionId"))
    return before.isdigit() and version.isdigit() and int(version) == int(before) + 1
