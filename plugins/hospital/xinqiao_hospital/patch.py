"""The part of JSON Patch (RFC 6902) that can be carried out on a Task whose content nobody keeps here."""

from xinqiao_hospital.wire import Json, as_list, as_object, as_text, is_list, is_object

MAX_OPERATIONS = 50
_ELEMENTS = frozenset({"status", "businessStatus", "statusReason", "executionPeriod", "output", "lastModified", "meta"})
_KNOWN = frozenset({"status", "businessStatus"})


class PatchRefused(Exception):
    """An operation cannot be carried out. ``place`` is ``[3].path`` and the like."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(f"{place}: {message}")
        self.message = message
        self.place = place


def patched(task: Json, patch: object) -> Json:
    """``task`` after a patch of whole elements; ``output`` may also be added to. Raises PatchRefused."""
    if not is_list(patch) or not 1 <= len(patch) <= MAX_OPERATIONS:
        raise PatchRefused(f"a JSON Patch is an array of 1 to {MAX_OPERATIONS} operations", "$")
    changed = dict(task)
    for index, item in enumerate(patch):
        place = f"[{index}]"
        if not is_object(item):
            raise PatchRefused("an operation is an object", place)
        op, path = as_text(item.get("op")), as_text(item.get("path"))
        if op in ("add", "replace", "test") and "value" not in item:
            raise PatchRefused("the operation needs a value", f"{place}.value")
        if op == "add" and path == "/output/-":
            changed["output"] = [*as_list(changed.get("output")), item["value"]]
            continue
        element = path.removeprefix("/")
        if path != f"/{element}" or element not in _ELEMENTS:
            known = ", ".join(f"/{name}" for name in sorted(_ELEMENTS))
            raise PatchRefused(f"path is one of {known}, /output/-; PUT the Task for the rest", f"{place}.path")
        _apply(changed, op, element, item, place)
    return changed


def _apply(task: Json, op: str, element: str, item: Json, place: str) -> None:
    if op in ("add", "replace"):
        task[element] = item["value"]
    elif op == "remove":
        task.pop(element, None)
    elif op == "test" and element in _KNOWN:
        if _bare(task.get(element)) != _bare(item["value"]):
            raise PatchRefused("the test failed: the Task stands otherwise here", place)
    else:
        raise PatchRefused("op is add, replace or remove; test is for /status and /businessStatus", f"{place}.op")


def _bare(value: object) -> object:
    """A status as it is, a CodeableConcept by its codes: displays may differ."""
    if not is_object(value):
        return value
    return [(as_text(c.get("system")), as_text(c.get("code"))) for c in map(as_object, as_list(value.get("coding")))]
