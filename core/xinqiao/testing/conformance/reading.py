"""Cases about what is brought: nothing lost at a crash, a bad item stops no other, a repeat is harmless."""

from collections.abc import Iterable

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.common.v1.options_pb2 import FieldClass
from xinqiao.contract.decode import validate
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import class_name, classes_of, present
from xinqiao.testing.conformance.registry import case
from xinqiao.testing.conformance.rig import NotShown, Rig, expect, fail

_ITEMS = 6
_ALWAYS = frozenset({int(FieldClass.FIELD_CLASS_CASE_REF), int(FieldClass.FIELD_CLASS_AGGREGATE)})
_MANY = {"students": "student"}


@case
def reads(rig: Rig) -> None:
    rig.bring(_ITEMS)
    found = rig.read()
    expect([item for item in found if not item.HasField("rejected")], "the partner has news and read brings none")
    for item in found:
        body = item.WhichOneof("body") or ""
        expect(item.cursor, f"a {body} has no cursor: after a crash everything would come again")
        named = ReadResponse()
        named.CopyFrom(item)
        # The gateway names what a partner would send itself: it comes without, on purpose.
        if (request := getattr(named, body, None)) is not None and "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = "conformance"
        try:
            validate(named)
        except Refusal as refusal:
            fail(f"a {body} is not valid: {refusal.message}")
        if body == "rejected":
            continue
        declared = rig.manifest.read_classes(_MANY.get(body, body)) | _ALWAYS
        beyond = [class_name(each) for each in classes_of(present(getattr(item, body))) if each not in declared]
        expect(not beyond, f"a {body} brings classes that the manifest does not declare: {', '.join(beyond)}")


@case
def cursors(rig: Rig) -> None:
    rig.bring(_ITEMS)
    whole = rig.read()
    if len(whole) < 3:
        raise NotShown("the partner has fewer than three items, nothing can be cut")
    kept = frozenset[bytes]()
    for cut in range(1, min(len(whole), 6)):
        rig.open()
        stored = rig.read(limit=cut)  # from the beginning, or from what a cursor took off a spool for good
        if not stored:
            break
        kept |= _bodies(stored)
        rig.open()
        rest = rig.read(stored[-1].cursor)
        lost = _bodies(whole) - kept - _bodies(rest)
        expect(not lost, f"after a crash behind item {cut} of {len(whole)}, {len(lost)} never came")
        repeated = len(_bodies(stored) & _bodies(rest))
        expect(repeated <= 1, f"after a crash behind item {cut}, {repeated} came again; at most one may")
    rig.open()
    expect(len(rig.read(whole[-1].cursor)) <= 1, "with the last cursor, items come again although nothing is new")


@case
def partner_repeats(rig: Rig) -> None:
    with rig.playing("duplicate"):
        rig.bring(_ITEMS)
        found = [item for item in rig.read() if not item.HasField("rejected")]
    expect(found, "a partner that says everything twice is not read at all")
    by_source: dict[str, bytes] = {}
    for item in found:
        body = getattr(item, item.WhichOneof("body") or "")
        source = getattr(body, "source", "")
        source = source if isinstance(source, str) else ""  # a signal's source is who noticed
        # One sheet is several items: a form sheet is told by instrument and day too.
        key = f"{source}/{getattr(body, 'instrument', '')}/{getattr(body, 'taken_on', '')}" if source else ""
        content = body.SerializeToString(deterministic=True)
        expect(not key or by_source.setdefault(key, content) == content, "one source id stands for two contents")


@case
def partner_out_of_order(rig: Rig) -> None:
    with rig.playing("out_of_order"):
        rig.bring(_ITEMS)
        shuffled = rig.read()
    rig.open()
    straight = rig.read()
    missing = _bodies(straight) - _bodies(shuffled)
    later = _bodies(rig.read(shuffled[-1].cursor)) if shuffled else frozenset[bytes]()
    expect(not missing - later, f"with the newer before the older, {len(missing - later)} items never came")


@case
def wrong_code(rig: Rig) -> None:
    rig.can_play("wrong_code").play("wrong_code", times=1)
    rig.bring(_ITEMS)
    found = rig.read()
    listed = [item.rejected for item in found if item.HasField("rejected")]
    bad = [*listed, *rig.refusals()]  # a partner that pushes may be told at the door
    expect(bad, "a code of another table was taken, or silently left out")
    for each in bad:
        expect(each.reason and each.place and each.message, "what is not taken needs reason, place and how to mend it")
    expect(len(found) > len(listed), "one item with a wrong code held up all others")


def _bodies(items: Iterable[ReadResponse]) -> frozenset[bytes]:
    """What the items say, without their cursors."""
    found: set[bytes] = set()
    for item in items:
        bare = ReadResponse()
        bare.CopyFrom(item)
        bare.ClearField("cursor")
        found.add(bare.SerializeToString(deterministic=True))
    return frozenset(found)
