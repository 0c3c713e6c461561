"""Whether JSON is FHIR R4 that we understand; every fault with reason and place, never with a value.

``fhir.resources`` (R4B: for the resources used here its elements are those of R4) judges elements, types and
cardinalities; ``shapes`` adds the required codes and invariants that it does not know; here stands what changes the
meaning of a record and is therefore refused, and what tells another FHIR release from a mistake.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import cast

from pydantic import BaseModel, ValidationError

from xinqiao_hospital.shapes import Issue, check_codes
from xinqiao_hospital.wire import Json, as_list, as_object, as_text, is_list, is_object, path_text

MAX_ENTRIES = 1000
MAX_FAULTS = 50
_OTHER_RELEASES = {"": "R5", "STU3": "STU3"}
_SAYS = {
    "required": ("DATA/REQUIRED", "the element is required"),
    "structure": ("DATA/PROFILE", "the element has not the shape that FHIR R4 gives it"),
    "value": ("DATA/PROFILE", "not a value that FHIR R4 allows here"),
    "code-invalid": ("DATA/CODE", "the code is not of the required FHIR R4 value set"),
    "invariant": ("DATA/INVARIANT", "it breaks a rule of FHIR R4 for this resource"),
    "extension": ("DATA/PROFILE", "it may change the meaning of the record and is not understood; leave it out"),
    "not-found": ("DATA/REFERENCE", "the reference leads to nothing in this resource"),
    "too-long": ("DATA/TOO_LARGE", f"more than {MAX_ENTRIES} entries; send several Bundles"),
}
_ACTIVE = re.compile(
    r"<\s*(?:script|iframe|object|embed|style|link|form|svg|img|base|meta)\b|javascript:|\son[a-z]{3,20}\s*=",
    re.IGNORECASE,
)
_MODIFIERS = ("modifierExtension", "implicitRules")
_LOOK = frozenset({"contained", *_MODIFIERS, *(f"_{name}" for name in _MODIFIERS)})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a resource: reason for machines, FHIR issue-type, how to mend it, and where."""

    reason: str
    code: str
    message: str
    place: str


def faults(resource: Json, place: str = "") -> list[Fault]:
    """What is wrong with ``resource``, empty for nothing; a Bundle's entries are judged one by one.

    ``place`` is the path before the resource, such as ``entry[3].resource``. Strings in the faults are ours and paths.
    """
    return list(_limited(_judged(resource, place)))


def warm() -> None:
    """Load the library, which takes a third of a second, before the first record needs it."""
    for kind in ("Bundle", "Consent", "Observation", "Patient", "QuestionnaireResponse", "RiskAssessment"):
        _model(kind)
    _model("ServiceRequest")
    _model("Task")


def without_narrative(value: Json) -> tuple[Json, int]:
    """``value`` without any narrative, and how many of those held anything that could run or load in a browser.

    Narratives are never read and never shown: what a record says is in its elements.
    """
    active = 0

    def cleaned(found: object) -> object:
        nonlocal active
        if is_list(found):
            return [cleaned(item) for item in found]
        if not is_object(found):
            return found
        kept: Json = {}
        for key, item in found.items():
            if key == "text" and is_object(item) and "div" in item:
                active += _is_active(as_text(item["div"]))
            else:
                kept[key] = cleaned(item)
        return kept

    return cast(Json, cleaned(value)), active


def _is_active(div: str) -> bool:
    return _ACTIVE.search(div) is not None


def _limited(found: Iterator[Fault]) -> Iterator[Fault]:
    for number, fault in enumerate(found):
        if number == MAX_FAULTS:
            return
        yield fault


def _judged(resource: Json, place: str) -> Iterator[Fault]:
    kind = as_text(resource.get("resourceType"))
    model = _model(kind)
    if model is None:
        yield Fault("DATA/PROFILE", "not-supported", "not a resource type of FHIR R4", _joined(place, "resourceType"))
        return
    entries = as_list(resource.get("entry")) if kind == "Bundle" else []
    if len(entries) > MAX_ENTRIES:
        yield _fault("too-long", _joined(place, "entry"))
        return
    # A Bundle's own elements and each resource in it are judged apart, so that one fault does not hide another.
    shell: Json = {**resource, "entry": [_shell(entry) for entry in entries]} if entries else resource
    plain = _is_plain(shell)
    seen = False
    for fault in (*(() if plain else _modifiers(shell, place)), *_library(model, kind, shell, place)):
        seen = True
        yield fault
    if not seen:
        issues: list[Issue] = check_codes(shell, place or kind, plain=plain)
        yield from (_fault(i.code, i.expression.removeprefix(f"{kind}." if not place else "")) for i in issues)
        if not plain:
            yield from _contained(shell, place)
    for index, entry in enumerate(entries):
        inner = as_object(entry).get("resource")
        if is_object(inner):
            yield from _judged(inner, _joined(place, f"entry[{index}].resource"))


def _shell(entry: object) -> object:
    if not is_object(entry):
        return entry
    if "resource" not in entry:
        return entry
    # A Basic with a code stands for any resource: the smallest that R4 accepts.
    stands: Json = {"resourceType": "Basic", "code": {"text": "x"}}
    version = as_object(as_object(entry["resource"]).get("meta")).get("versionId")
    return {**entry, "resource": {**stands, "meta": {"versionId": version}} if version else stands}


def _is_plain(value: object) -> bool:
    """Whether nothing in ``value`` needs a closer look: no modifier, no contained resource or ``#``, nothing empty.

    One quick walk for what nearly every resource is; the paths that a closer look needs cost more than all of it.
    """
    if isinstance(value, str):
        return value != "" and not value.startswith("#")
    if is_object(value):
        if not value or not _LOOK.isdisjoint(value):
            return False
        return all(map(_is_plain, value.values()))
    if is_list(value):
        return bool(value) and all(map(_is_plain, value))
    return value is not None


def _modifiers(root: Json, place: str) -> Iterator[Fault]:
    open_: list[tuple[tuple[str | int, ...], object]] = [((), root)]
    while open_:
        path, value = open_.pop()
        if is_list(value):
            open_ += [((*path, index), item) for index, item in enumerate(value)]
        elif is_object(value):
            for key, item in value.items():
                if key.removeprefix("_") in _MODIFIERS and item not in (None, "", [], {}):
                    yield _fault("extension", _joined(place, path_text((*path, key))))
                else:
                    open_.append(((*path, key), item))


def _library(model: type[BaseModel], kind: str, resource: Json, place: str) -> Iterator[Fault]:
    try:
        model.model_validate(resource)
    except ValidationError as e:
        for error in e.errors(include_url=False, include_input=False, include_context=False):
            path, type_ = tuple(error["loc"]), error["type"]
            where = _joined(place, path_text(path))
            if type_ == "extra_forbidden":
                release = _release_of(kind, str(path[0])) if len(path) == 1 else ""
                what = f"the element belongs to FHIR {release}; send R4 (4.0.1)" if release else "not in FHIR R4"
                yield Fault("DATA/PROFILE", "structure", what, where)
            elif "missing" in type_:
                yield _fault("required", where)
            elif "date" in type_ or "time" in type_ or "ate" in error["msg"][13:22]:
                yield Fault("DATA/DATE", "value", "not a date or time of FHIR R4", where)
            else:
                yield _fault("value" if type_ in ("value_error", "string_pattern_mismatch") else "structure", where)
    except Exception:  # The library knows no name for it: a contained resource of no known type, for instance.
        yield _fault("structure", place or kind)


def _contained(resource: Json, place: str) -> Iterator[Fault]:
    """Contained resources name their type, and a ``#id`` leads to one of them."""
    inside = [as_object(item) for item in as_list(resource.get("contained"))]
    for index, item in enumerate(inside):
        where = _joined(place, f"contained[{index}]")
        if not item.get("resourceType"):
            yield _fault("required", f"{where}.resourceType")
        yield from (_fault(issue.code, issue.expression) for issue in check_codes(item, where))
    ids = {f"#{item.get('id')}" for item in inside}
    for path, reference in references(resource):
        if reference.startswith("#") and reference not in ids and reference != "#":
            yield _fault("not-found", _joined(place, path))


def references(root: Json) -> list[tuple[str, str]]:
    """``(path, reference)`` of every Reference in a resource, its Bundle entries left out."""
    found: list[tuple[str, str]] = []
    open_: list[tuple[tuple[str | int, ...], object]] = [((), root)]
    while open_:
        path, value = open_.pop()
        if is_list(value):
            open_ += [((*path, index), item) for index, item in enumerate(value)]
        elif is_object(value) and path[:1] != ("entry",):
            if isinstance(value.get("reference"), str):
                found.append((path_text((*path, "reference")), value["reference"]))
            open_ += [((*path, key), item) for key, item in value.items()]
    return found


@cache
def _model(kind: str, release: str = "R4B") -> type[BaseModel] | None:
    """The library's class of a resource type, None where the release has no such type."""
    if not kind.isascii() or not kind.isalpha():
        return None
    try:
        library = import_module(".".join(part for part in ("fhir.resources", release) if part))
        return cast("type[BaseModel]", library.get_fhir_model_class(kind)) if _is_resource(library, kind) else None
    except (ImportError, KeyError, ValueError, AttributeError):
        return None


def _is_resource(library: object, kind: str) -> bool:
    found = cast("type[BaseModel]", library.get_fhir_model_class(kind))  # type: ignore[attr-defined]
    return "implicitRules" in found.model_fields and kind not in ("Resource", "DomainResource")


@cache
def _release_of(kind: str, element: str) -> str:
    for release, name in _OTHER_RELEASES.items():
        model = _model(kind, release)
        if model is not None and element in {field.alias or key for key, field in model.model_fields.items()}:
            return name
    return ""


def _fault(code: str, place: str) -> Fault:
    reason, message = _SAYS.get(code, _SAYS["structure"])
    return Fault(reason, code, message, place)


def _joined(place: str, path: str) -> str:
    return f"{place}.{path}" if place else path
