"""A student who left goes when the time after leaving is over and nothing forbids it: the key first of all."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import mailbox_service_pb2 as mail
from xinqiao.api.gateway.v1 import retention_service_pb2 as rpc
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone
from xinqiao.store.holdings import drop

CALM = bytes([0] * 9)
YEARS = 3.05


@pytest.fixture
def town(make_town: Any, database: str) -> Any:
    def for_long(settings: dict[str, Any]) -> None:
        for partner in settings["partners"].values():
            partner["agreement"] = {**partner["agreement"], "valid_to": "2060-12-31"}

    with make_town(database, listen=False, change=for_long) as made:
        yield made


def wait(town: Any, years: float) -> int:
    """Let time go by and the daily erasing run; how much it erased."""
    town.clock.advance(timedelta(days=365.25 * years))
    return int(town.gate.gateway.retention.tick())


def leave(town: Any, local: str, **more: Any) -> str:
    town.student(local_id=local, left=True, **more)
    return str(town.inside_id(local))


def report(town: Any) -> Any:
    held = town.call(town.OPERATOR, rpc.GetRetentionRequest()).contracts
    return next(each for each in held if each.contract == "students")


def there(town: Any, student: str) -> bool:
    return bool(town.rows(tables.students, id=student))


def opens(town: Any, student: str) -> bool:
    try:
        town.gate.gateway.store.keys.sealer(student)
    except KeyGone:
        return False
    return True


def test_who_left_three_years_ago_goes_and_nobody_else(town: Any) -> None:
    gone, late, stays = town.student(), town.student(), town.student()
    town.submit(gone, CALM)
    inside = leave(town, gone)
    staying = town.inside_id(stays)
    left_us = town.clock.now_us()
    wait(town, 1)
    later = leave(town, late)
    assert (report(town).rows, report(town).since, report(town).keep_days) == (2, "left", 1095)
    assert abs(report(town).oldest_us - left_us) < 1_000_000
    wait(town, YEARS - 1)
    assert not there(town, inside)
    assert not opens(town, inside)
    assert (there(town, later), opens(town, later), there(town, staying)) == (True, True, True)
    (row,) = town.journal(kind="student.shredded")
    assert (row["actor"], row["student"]) == ("gateway", inside)
    assert row["reason"].startswith("LEFT days:1095 rules:")
    assert [r["reason"][:6] for r in town.journal(kind="retention.erased", resource="retention/students")] == ["rows:1"]
    assert (report(town).rows, report(town).past) == (1, 0)
    (erasure,) = town.rows(tables.erasures, student=inside)
    assert erasure["done"]
    look = case.GetCaseRequest(student={"local_id": gone})
    assert town.refusal(town.PSYCH, look) == "NOT_FOUND/STUDENT"
    assert town.inside_id(town.student(local_id=gone)) != inside  # who comes again is somebody new


def test_the_clock_runs_from_the_leaving_and_a_return_stops_it(town: Any) -> None:
    changed, back = town.student(), town.student()
    first, second = leave(town, changed), leave(town, back)
    wait(town, 2)
    leave(town, changed, grade="9")  # a later change of the record is no later leaving
    town.student(local_id=back)
    wait(town, YEARS - 2)
    assert (there(town, first), there(town, second)) == (False, True)
    leave(town, back)
    wait(town, YEARS - 0.2)
    assert there(town, second)
    wait(town, 0.2)
    assert not there(town, second)


def legal_hold(town: Any, local: str) -> Callable[[], object]:
    placed = rpc.PlaceLegalHoldRequest(student={"local_id": local}, reason="POLICE_INQUIRY:case-118")
    name = town.call(town.PSYCH, placed).name
    return lambda: town.call(town.PSYCH, rpc.ReleaseLegalHoldRequest(name=name, reason="INQUIRY_CLOSED"))


def open_case(town: Any, local: str) -> Callable[[], object]:
    """A red form that nobody has settled."""
    student = town.inside_id(local)
    town.submit(local)

    def settle() -> None:
        items = [row["item"] for row in town.rows(tables.holdings, student=student)]
        assert items
        town.gate.gateway.store.run(lambda tx: [drop(tx, item) for item in items])

    return settle


def open_letter(town: Any, local: str) -> Callable[[], object]:
    """It lies under the name of its mailbox, which leads to nobody."""
    written = town.call(town.SCHOOL, mail.WriteLetterRequest(student={"local_id": local}, text="letter")).letter
    assert not town.rows(tables.holdings, student=town.inside_id(local))
    return lambda: town.call("worker-lu", mail.AnswerLetterRequest(name=written.name, text="answer"))


@pytest.mark.parametrize("keep", [legal_hold, open_case, open_letter])
def test_what_is_open_or_held_beats_the_calendar(
    town: Any, keep: Callable[[Any, str], Callable[[], object]]
) -> None:  # fmt: skip
    local = town.student()
    end = keep(town, local)
    student = leave(town, local)
    wait(town, YEARS)
    assert (there(town, student), opens(town, student)) == (True, True)
    assert report(town).past == 1  # and the report says so
    end()
    wait(town, 0.01)
    assert (there(town, student), opens(town, student)) == (False, False)


def test_evidence_of_a_consent_keeps_its_student_for_as_long_as_it_must_be_kept(town: Any) -> None:
    local = town.student()
    student = leave(town, local)
    wait(town, 2)
    town.consent(local, days=365)  # evidence until three years after its end
    wait(town, 2)
    assert (there(town, student), opens(town, student)) == (True, True)
    wait(town, 1.9)
    assert opens(town, student)
    wait(town, 0.2)
    assert not opens(town, student)


def test_what_comes_up_at_the_last_moment_still_counts(town: Any, monkeypatch: Any) -> None:
    local = town.student()
    student = leave(town, local)
    town.clock.advance(timedelta(days=365.25 * YEARS))
    erasure = town.gate.gateway.erasure
    shred = erasure.shred_leaver

    def late(found: str, *rest: Any) -> bool:
        legal_hold(town, local)
        return bool(shred(found, *rest))

    monkeypatch.setattr(erasure, "shred_leaver", late)
    town.gate.gateway.retention.tick()
    assert (there(town, student), opens(town, student)) == (True, True)


def test_a_crash_between_names_and_keys_is_finished_by_the_next_tick(town: Any, monkeypatch: Any) -> None:
    local = town.student()
    student = leave(town, local)
    erasure = town.gate.gateway.erasure
    with monkeypatch.context() as broken:
        broken.setattr(erasure, "_finish", lambda row: (_ for _ in ()).throw(OSError("power")))
        with pytest.raises(OSError, match="power"):
            wait(town, YEARS)
    assert (there(town, student), opens(town, student)) == (False, True)
    erasure.finish()
    assert not opens(town, student)
