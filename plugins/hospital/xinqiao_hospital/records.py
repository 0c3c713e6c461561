"""The simulated hospital's FHIR records: versions in memory, every commit one line of a log in the folder."""

import os
import re
import threading
from collections.abc import Callable, Iterable
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from xinqiao.contract.clock import Clock, from_us
from xinqiao_hospital.shapes import Issue, check_resource
from xinqiao_hospital.wire import Json, JsonRefused, as_list, as_object, as_text, dump, is_list, is_object, parse

_CREATE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_Key = tuple[str, str]

_SERVERS_META = ("versionId", "lastUpdated")


class FhirRefused(Exception):
    """A request is refused: HTTP status and the issues of its OperationOutcome."""

    def __init__(self, status: int, *issues: Issue) -> None:
        super().__init__(f"HTTP {status}: {', '.join(f'{i.code} at {i.expression}' for i in issues)}")
        self.status = status
        self.issues = issues


class Records:
    """Resources with their versions. One lock: a commit is whole or not at all."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / "records.jsonl"
        self._clock = clock
        self._lock = threading.RLock()
        self._versions: dict[_Key, list[Json]] = {}
        self._by_identifier: dict[tuple[str, str, str], str] = {}
        self._last_us = 0
        self.notes: dict[str, Json] = {}
        self.watchers: list[Callable[[Json], None]] = []
        """Told of each Task that changed, after it is on record."""
        self._load()

    def transaction(self, bundle: Json) -> list[Json]:
        """Carry a transaction out; the entries of the response. Raises FhirRefused, then nothing has happened."""
        if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "transaction":
            raise FhirRefused(400, Issue("invalid", "Bundle.type"))
        with self._lock:
            entries = [as_object(entry) for entry in as_list(bundle.get("entry"))]
            planned, references = self._plan(entries)
            resources: list[tuple[Json, bool]] = []
            issues: list[Issue] = []
            for index, (kind, id_, exists) in enumerate(planned):
                place = f"Bundle.entry[{index}].resource"
                rewritten = _rewritten(entries[index].get("resource"), references, place, issues)
                issues += check_resource(as_object(rewritten), place)
                resources.append(({**as_object(rewritten), "resourceType": kind, "id": id_}, exists))
            if issues:
                raise FhirRefused(422, *issues)
            stored = self._commit([resource for resource, exists in resources if not exists])
            return [
                self._entry_response(stored.get((str(r["resourceType"]), str(r["id"]))), r, exists)
                for r, exists in resources
            ]

    def update(self, kind: str, id_: str, if_match: str, resource: Json) -> Json:
        """Replace a resource; the new version. Raises FhirRefused (404, 412, 422)."""
        with self._lock:
            current = self.read(kind, id_)
            if if_match and if_match != f'W/"{current["meta"]["versionId"]}"':
                raise FhirRefused(412, Issue("conflict", f"{kind}.meta.versionId"))
            issues = check_resource(resource, kind)
            if resource.get("resourceType") != kind or resource.get("id") != id_:
                issues.append(Issue("invalid", f"{kind}.id"))
            if issues:
                raise FhirRefused(422, *issues)
            return self._commit([resource])[kind, id_]

    def keep(self, resource: Json, id_: str = "") -> Json:
        """Store a resource under ``id_``, or a new id. Raises FhirRefused (422)."""
        kind = as_text(resource.get("resourceType"))
        with self._lock:
            issues = check_resource(resource, kind)
            if issues:
                raise FhirRefused(422, *issues)
            new = id_ or str(sum(1 for known, _ in self._versions if known == kind) + 1)
            return self._commit([{**resource, "id": new}])[kind, new]

    def change(self, kind: str, id_: str, edit: Callable[[Json], Json]) -> Json:
        """Replace a resource by ``edit`` of its present version, under the lock."""
        with self._lock:
            return self._commit([edit(dict(self.read(kind, id_)))])[kind, id_]

    def read(self, kind: str, id_: str) -> Json:
        """The present version. Raises FhirRefused (404)."""
        return self.history(kind, id_)[-1]

    def history(self, kind: str, id_: str) -> list[Json]:
        """Every version, oldest first. Raises FhirRefused (404)."""
        with self._lock:
            versions = self._versions.get((kind, id_))
            if versions is None:
                raise FhirRefused(404, Issue("not-found", kind))
            return list(versions)

    def all(self, kind: str) -> list[Json]:
        """The present version of every resource of a type, by ``lastUpdated``."""
        with self._lock:
            found = [versions[-1] for (k, _), versions in self._versions.items() if k == kind]
        return sorted(found, key=lambda r: (r["meta"]["lastUpdated"], r["id"]))

    def everything(self) -> list[str]:
        """What every version of every resource and every note says, as text; a version that says nothing new is left out."""
        with self._lock:
            kept = [version for versions in self._versions.values() for version in versions]
            said = dict.fromkeys(dump({**version, "meta": _own_meta(version)}).decode() for version in kept)
            return [*said, *(f"{key} {dump(value).decode()}" for key, value in self.notes.items())]

    def note(self, key: str, value: Json) -> None:
        """Keep something that is not FHIR, such as a receipt given."""
        with self._lock:
            self._append({"note": key, "value": value})
            self.notes[key] = value

    def _plan(self, entries: Iterable[Json]) -> tuple[list[tuple[str, str, bool]], dict[str, str]]:
        """For each entry its type, id and whether it exists already; and what each ``urn:uuid`` becomes."""
        planned: list[tuple[str, str, bool]] = []
        references: dict[str, str] = {}
        fresh: dict[str, int] = {}
        for index, entry in enumerate(entries):
            request = as_object(entry.get("request"))
            kind = as_text(request.get("url"))
            kind, _, sought = kind.partition("?") if request.get("method") == "PUT" else (kind, "", "")
            if (
                request.get("method") not in ("POST", "PUT")
                or not _CREATE.fullmatch(kind)
                or (request.get("method") == "PUT" and not sought)
            ):
                raise FhirRefused(400, Issue("not-supported", f"Bundle.entry[{index}].request"))
            if as_object(entry.get("resource")).get("resourceType") != kind:
                raise FhirRefused(400, Issue("invalid", f"Bundle.entry[{index}].resource"))
            known = self._known(kind, sought or as_text(request.get("ifNoneExist")), index)
            if not known:
                fresh[kind] = fresh.get(kind, 0) + 1
            count = sum(1 for k, _ in self._versions if k == kind)
            id_ = known or str(count + fresh[kind])
            # A conditional update (PUT) writes whether it is known or not; a conditional create only what is new.
            planned.append((kind, id_, bool(known) and not sought))
            references[as_text(entry.get("fullUrl"))] = f"{kind}/{id_}"
        return planned, references

    def _known(self, kind: str, query: str, index: int) -> str:
        if not query:
            return ""
        pairs = parse_qsl(query, keep_blank_values=True)
        if len(pairs) != 1 or pairs[0][0] != "identifier" or "|" not in pairs[0][1]:
            raise FhirRefused(400, Issue("not-supported", f"Bundle.entry[{index}].request.ifNoneExist"))
        system, _, value = pairs[0][1].partition("|")
        return self._by_identifier.get((kind, system, value), "")

    def _entry_response(self, stored: Json | None, planned: Json, exists: bool) -> Json:
        resource = stored or self.read(str(planned["resourceType"]), str(planned["id"]))
        version = resource["meta"]["versionId"]
        return {
            "response": {
                "status": "200 OK" if exists else "201 Created",
                "location": f"{resource['resourceType']}/{resource['id']}/_history/{version}",
                "etag": f'W/"{version}"',
                "lastModified": resource["meta"]["lastUpdated"],
            }
        }

    def _commit(self, resources: list[Json]) -> dict[_Key, Json]:
        # Milliseconds, and never the same twice: what FHIR servers commonly give.
        us = max(self._clock.now_us() // 1000 * 1000, self._last_us + 1000)
        stamp = from_us(us).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        stamped: list[Json] = []
        for resource in resources:
            number = len(self._versions.get((str(resource["resourceType"]), str(resource["id"])), [])) + 1
            meta: Json = {**as_object(resource.get("meta")), "versionId": str(number), "lastUpdated": stamp}
            stamped.append({**resource, "meta": meta})
        if stamped:
            self._append({"us": us, "put": stamped})
            self._take(us, stamped)
            for resource in stamped:
                for watcher in self.watchers if resource["resourceType"] == "Task" else ():
                    watcher(resource)
        return {(str(r["resourceType"]), str(r["id"])): r for r in stamped}

    def _take(self, us: int, resources: Iterable[Json]) -> None:
        self._last_us = max(self._last_us, us)
        for resource in resources:
            kind, id_ = str(resource["resourceType"]), str(resource["id"])
            self._versions.setdefault((kind, id_), []).append(resource)
            found = resource.get("identifier")
            for item in [found] if is_object(found) else as_list(found):
                identifier = as_object(item)
                key = (kind, as_text(identifier.get("system")), as_text(identifier.get("value")))
                self._by_identifier.setdefault(key, id_)

    def _append(self, line: Json) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, dump(line) + b"\n")
        finally:
            os.close(descriptor)

    def _load(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            # A line torn by a kill was never answered: it did not happen.
            os.truncate(self._path, len(whole))
        for line in whole.splitlines():
            try:
                entry = as_object(parse(line).clean())
            except JsonRefused as e:
                raise ValueError(f"{self._path.name} is damaged: {e.reason} at {e.place}") from None
            if "note" in entry:
                self.notes[str(entry["note"])] = as_object(entry["value"])
            else:
                self._take(int(entry["us"]), [as_object(resource) for resource in as_list(entry["put"])])


def _rewritten(value: Any, references: dict[str, str], place: str, issues: list[Issue]) -> Any:
    """``value`` with every ``urn:uuid`` reference replaced by the address it became."""
    if is_list(value):
        return [_rewritten(item, references, f"{place}[{i}]", issues) for i, item in enumerate(as_list(value))]
    if not is_object(value):
        return value
    out: Json = {}
    for key, item in value.items():
        if key == "reference" and isinstance(item, str) and item.startswith("urn:uuid:"):
            if item not in references:
                issues.append(Issue("not-found", f"{place}.reference"))
            out[key] = references.get(item, item)
        else:
            out[key] = _rewritten(item, references, f"{place}.{key}", issues)
    return out


def _own_meta(resource: Json) -> Json:
    """``meta`` without what the server writes for each version."""
    return {name: value for name, value in as_object(resource.get("meta")).items() if name not in _SERVERS_META}
