"""What was pushed and spooled, as the items that ``read`` brings; a cursor that comes back takes them off the spool."""

from collections.abc import Iterator, Sequence

from xinqiao.adapters.spool import Item, Spool
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent
from xinqiao_hospital.desk import is_own_write
from xinqiao_hospital.feed import placed
from xinqiao_hospital.states import TaskRefused, business_code, check_task, resume_of, update_of
from xinqiao_hospital.wire import Json, JsonRefused, as_list, as_object, as_text, parse

_MARKS = 8
"""Spools a cursor remembers: each replica of the gateway has its own."""


def split(cursor: str) -> tuple[str, str]:
    """The part of a cursor that is the feed's, and the marks of spools."""
    feed, _, marks = cursor.partition("#")
    return feed, marks


def pushed(spool: Spool, feed: str, marks: str) -> Iterator[ReadResponse]:
    """The items of ``spool`` that ``marks`` does not cover, each with the cursor to keep once it is stored."""
    for mark in marks.split(","):
        spool.settle(mark)
    items = _in_order(spool.pending())
    left = {item.number for item in items}
    newest = max(left, default=0)
    before = marks
    for item in items:
        responses = _responses(item)
        left.discard(item.number)
        # A mark covers all lower numbers, so it moves only when none of them is still to come.
        after = _with(marks, spool.mark(min(left, default=newest + 1) - 1))
        for number, response in enumerate(responses, start=1):
            response.cursor = joined(feed, after if number == len(responses) else before)
            yield response
        if responses:
            before = after
        else:
            spool.done(item.key)  # Nothing to hand on: our own change come back, or no news.


def joined(feed: str, marks: str) -> str:
    """A cursor of both parts; the feed's alone where nothing was ever pushed."""
    return f"{feed}#{marks}" if marks else feed


def _with(marks: str, mark: str) -> str:
    name = mark.partition(":")[0]
    others = [other for other in marks.split(",") if other and not other.startswith(f"{name}:")]
    return ",".join([*others[-_MARKS + 1 :], mark])


def _in_order(items: Sequence[Item]) -> list[Item]:
    """As they came, but the versions of one Task by number where the hospital numbers them: pushes overtake each other."""
    places: dict[str, list[tuple[int, int]]] = {}
    for place, item in enumerate(items):
        tasks = _tasks(item)
        task = as_object(as_object(tasks[0]).get("task")) if len(tasks) == 1 else {}
        version = as_text(as_object(task.get("meta")).get("versionId"))
        if version.isdigit() and len(version) < 19:
            places.setdefault(as_text(task.get("id")), []).append((int(version), place))
    ordered = list(items)
    for versions in places.values():
        for (_, source), place in zip(sorted(versions), sorted(place for _, place in versions), strict=True):
            ordered[place] = items[source]
    return ordered


def _tasks(item: Item) -> list[Json]:
    try:
        return as_list(as_object(parse(item.data).clean()).get("tasks"))
    except JsonRefused:
        return []


def _responses(item: Item) -> list[ReadResponse]:
    tasks = _tasks(item)
    if not tasks:  # It was sound when it was spooled: the file was changed.
        why = "the spooled file was changed or is damaged; ask the hospital to send it again"
        return [ReadResponse(rejected=Rejected(source="spool", place="file", reason="DATA/SPOOL", message=why))]
    return [response for kept in map(as_object, tasks) for response in _said(item, kept)]


def _said(item: Item, kept: Json) -> Iterator[ReadResponse]:
    task = as_object(kept.get("task"))
    if is_own_write(task):
        return
    version = as_text(as_object(task.get("meta")).get("versionId"))
    # With the hospital's own version number the feed gives the same source, so that one of the two has an effect.
    number = f"_history/{version}" if version else f"_pushed/{item.key[:16]}"
    name = as_text(task.get("id"))
    source = f"Task/{name}/{number}"
    yield from placed(source, name, _news(task, kept, source))


def _news(task: Json, kept: Json, source: str) -> Iterator[ReadResponse]:
    try:
        check_task(task)
        business = business_code(task)
        resumed = resume_of(task, {"status": as_text(kept.get("before"))})
        update = update_of(task)
    except TaskRefused as e:
        rejected = Rejected(source=source, place=f"Task.{e.place}", reason=e.reason, message=e.message)
        yield ReadResponse(rejected=rejected)
        return
    if resumed is not None:
        resumed.source = f"{source}#resume"
        yield ReadResponse(referral=resumed)
    # Other words of the same step are no second step; a new appointment is one.
    same = (as_text(task.get("status")), as_text(kept.get("business"))) == (as_text(kept.get("before")), business)
    back = resumed is not None and as_text(kept.get("business")) == business
    if update is not None and not back and (not same or update.event == ReferralEvent.REFERRAL_EVENT_SCHEDULE):
        update.source = source
        yield ReadResponse(referral=update)
