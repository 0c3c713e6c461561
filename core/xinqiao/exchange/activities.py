"""What agencies did, as counts: recorded under the agency's own id, corrected by sending the whole of it again."""

from datetime import date, timedelta

from xinqiao.api.common.v1.options_pb2 import ROLE_OPERATOR
from xinqiao.api.exchange.v1 import activity_service_pb2 as pb
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.contract.numbers import is_a_persons
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.records import newest
from xinqiao.store import tables
from xinqiao.store.ids import new_id
from xinqiao.store.sql import RowMapping

_FIGURES = ("times", "attendances", "persons", "minutes")


class Activities:
    """The functions behind ``ActivityService``."""

    def record_activities(self, request: pb.RecordActivitiesRequest, call: Call) -> pb.RecordActivitiesResponse:
        """Record, replace or leave alone; one journal row for all of them."""
        response = pb.RecordActivitiesResponse()
        today = local_date(call.tx.now_us)
        for index, activity in enumerate(request.activities):
            self._check(call, index, activity, today)
            stored = call.tx.get(tables.activities, call.caller.agency, activity.source)
            values = _values(activity)
            if stored is None:
                call.tx.insert(
                    tables.activities, call.caller.agency, activity.source, new_id(call.tx.now_us), *values.values(),
                    call.tx.now_us, call.tx.now_us,
                )  # fmt: skip
                response.recorded += 1
            elif all(stored[name] == value for name, value in values.items()):
                response.unchanged += 1
            else:
                call.tx.update(
                    tables.activities, (call.caller.agency, activity.source), updated_us=call.tx.now_us, **values
                )
                response.replaced += 1
        call.journal_batch(
            "activities.recorded", resource=f"activities/{call.caller.agency}",
            reason=f"recorded:{response.recorded} replaced:{response.replaced} unchanged:{response.unchanged}",
            payload=request.SerializeToString(deterministic=True),
        )  # fmt: skip
        return response

    def list_activities(self, request: pb.ListActivitiesRequest, call: Call) -> pb.ListActivitiesResponse:
        """The caller's, newest first; an operator gets all."""
        c = tables.activities.c
        operator = ROLE_OPERATOR in call.caller.roles
        rows, following = newest(
            call, tables.activities, request, c.created_us > 0 if operator else c.agency == call.caller.agency
        )
        return pb.ListActivitiesResponse(activities=[to_message(row) for row in rows], next_page_token=following)

    @staticmethod
    def _check(call: Call, index: int, activity: pb.Activity, today: date) -> None:
        place = f"activities[{index}]"
        try:
            future = date.fromisoformat(activity.day) > today + timedelta(days=1)
        except ValueError:
            future = True
        if future:
            raise Refusal(
                "INVALID_ARGUMENT", "DATE_RANGE", "the day is no day of the calendar, or has not come yet",
                violations=(Violation(f"{place}.day", "DATE_RANGE", "send the day it was done, ISO 8601"),),
            )  # fmt: skip
        for name in ("source", "series"):
            if is_a_persons(getattr(activity, name)):  # it is kept in the clear, to know a correction by
                raise Refusal(
                    "INVALID_ARGUMENT", "PERSONS_NUMBER", "an id of the caller's own is no identity or telephone number",
                    violations=(Violation(f"{place}.{name}", "PERSONS_NUMBER", "give it a number of its own"),),
                )  # fmt: skip
        known = any(activity.school in partner.schools for partner in call.door.registry.all())
        own = not call.caller.schools or activity.school in call.caller.schools
        if activity.school and not (known and own):
            raise Refusal(
                "INVALID_ARGUMENT", "SCHOOL", "not a school of the caller",
                violations=(Violation(f"{place}.school", "SCHOOL", "send a school code of gateway.yaml, or none"),),
            )  # fmt: skip


def _values(activity: pb.Activity) -> dict[str, object]:
    """The columns that an activity fills, in their order."""
    figures = {name: int(getattr(activity, name)) for name in _FIGURES}
    return {
        "kind": int(activity.kind), "audience": int(activity.audience), "day": activity.day, "school": activity.school,
        "series": activity.series, **figures, "crisis": activity.crisis, "withdrawn": activity.withdrawn,
    }  # fmt: skip


def to_message(row: RowMapping) -> pb.Activity:
    """The activity that a row holds."""
    activity = pb.Activity(
        source=row["source"], kind=row["kind"], audience=row["audience"], day=row["day"], school=row["school"],
        series=row["series"], crisis=bool(row["crisis"]), withdrawn=bool(row["withdrawn"]),
    )  # fmt: skip
    for name in _FIGURES:
        setattr(activity, name, int(row[name]))
    return activity
