"""Students registered in batches: new, changed, the same and twice, on each database."""

from typing import Any

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.common.v1.types_pb2 import StudentRef
from xinqiao.contract.decode import validate
from xinqiao.contract.errors import Refusal
from xinqiao.store import tables

SCHOOL = "kunshan-no1-middle"


def request(*names: tuple[str, str]) -> rpc.RegisterStudentsRequest:
    made = rpc.RegisterStudentsRequest()
    for local, given in names:
        made.students.add(local_id=local, given_name=given, family_name="欧阳", school="3205830001")
    return made


def row(town: Any, local: str) -> Any:
    [found] = town.rows(tables.students, id=town.inside_id(local))
    return found


def test_a_student_whose_record_is_the_same_is_left_alone(town: Any) -> None:
    town.call(SCHOOL, request(("same-1", "甲"), ("same-2", "乙")))
    before = row(town, "same-1")
    town.call(SCHOOL, request(("same-1", "甲"), ("same-2", "改")))
    after = row(town, "same-1")
    assert (after["version"], bytes(after["sealed"])) == (before["version"], bytes(before["sealed"]))
    assert row(town, "same-2")["version"] == 2


def test_the_names_come_in_the_order_of_the_request_and_stay(town: Any) -> None:
    first = town.call(SCHOOL, request(("order-1", "甲"), ("order-2", "乙"))).names
    again = town.call(SCHOOL, request(("order-2", "乙"), ("order-3", "丙"), ("order-1", "甲"))).names
    assert [again[2], again[0]] == list(first)
    assert len(set(again)) == 3


def test_of_a_student_given_twice_the_last_record_counts(town: Any) -> None:
    names = town.call(SCHOOL, request(("twice-1", "甲"), ("twice-1", "乙"))).names
    assert names[0] == names[1]
    inside = town.inside_id("twice-1")
    with town.gate.gateway.store.read() as reading:
        assert town.gate.gateway.door.students.load(reading, inside, SCHOOL).given_name == "乙"


def test_a_refused_batch_leaves_nobody_behind(town: Any) -> None:
    before = len(town.rows(tables.local_ids))
    made = request(("none-1", "甲"))
    made.students.add(local_id="none-2", school="9999999999")
    assert town.refusal(SCHOOL, made) == "PERMISSION_DENIED/SCOPE"
    assert len(town.rows(tables.local_ids)) == before


def test_no_name_of_a_student_is_readable_in_the_row(town: Any) -> None:
    town.call(SCHOOL, request(("sealed-1", "秘密名字")))
    assert "秘密名字".encode() not in bytes(row(town, "sealed-1")["sealed"])


# -- many at once: prepared before the transaction -----------------------------------------------------------------------


def many(tag: str, count: int = 40) -> rpc.RegisterStudentsRequest:
    return request(*((f"{tag}-{n}", "甲") for n in range(count)))


def test_many_students_get_the_names_that_each_would_get_alone(town: Any) -> None:
    names = town.call(SCHOOL, many("many")).names
    students = town.gate.gateway.door.students
    agency = town.gate.gateway.registry.find(SCHOOL).agency
    assert list(names) == [students.name(agency, town.inside_id(f"many-{n}")) for n in range(40)]
    with town.gate.gateway.store.read() as reading:
        assert students.load(reading, town.inside_id("many-7"), SCHOOL).local_id == "many-7"


def test_a_student_whom_another_call_registered_meanwhile_keeps_that_id_and_gets_the_later_record(town: Any) -> None:
    gateway, late = town.gate.gateway, many("race")
    partner = gateway.registry.find(SCHOOL)
    prepared = gateway.door.students.prepare(gateway.store.read, partner, late.students)
    town.call(SCHOOL, request(("race-3", "乙")))
    inside = town.inside_id("race-3")
    known = gateway.store.run(lambda tx: gateway.door.students.register_all(tx, partner, late.students, prepared))
    assert known[3].id == inside
    assert row(town, "race-3")["version"] == 2
    assert [known[n].id for n in (0, 39)] == [town.inside_id("race-0"), town.inside_id("race-39")]


def test_many_students_registered_again_make_no_new_keys(town: Any) -> None:
    first = many("again")
    town.call(SCHOOL, first)
    gateway = town.gate.gateway
    prepared = gateway.door.students.prepare(gateway.store.read, gateway.registry.find(SCHOOL), first.students)
    assert prepared.fresh == {}


def test_many_students_with_one_of_a_foreign_school_are_refused_and_nobody_stays(town: Any) -> None:
    before = len(town.rows(tables.local_ids))
    made = many("foreign")
    made.students.add(local_id="foreign-x", school="9999999999")
    assert town.refusal(SCHOOL, made) == "PERMISSION_DENIED/SCOPE"
    assert len(town.rows(tables.local_ids)) == before


def test_one_unsafe_character_among_many_students_is_found_and_its_place_named(town: Any) -> None:
    made = many("unsafe")
    made.students[31].guardians.add(full_name="田\u202e一", relation="parent")
    assert town.refusal(SCHOOL, made) == "INVALID_ARGUMENT/CHARSET"
    made.students[31].guardians[0].full_name, made.students[7].family_name = "田一", "欧\u200b阳"
    with pytest.raises(Refusal) as refused:
        validate(made)
    assert [violation.field for violation in refused.value.violations] == ["students[7].family_name"]


def test_a_batch_may_ask_for_no_names(town: Any) -> None:
    made = request(("unnamed-1", "甲"))
    made.without_names = True
    assert not town.call(SCHOOL, made).names
    assert town.inside_id("unnamed-1")


def test_a_change_prepared_before_another_change_is_sealed_anew(town: Any) -> None:
    gateway = town.gate.gateway
    students, caller = gateway.door.students, gateway.registry.find(SCHOOL)
    town.call(SCHOOL, request(("stale-1", "甲"), ("stale-2", "甲")))
    made = request(("stale-1", "丙"), ("stale-2", "甲"))
    prepared = students.prepare(gateway.store.read, caller, made.students)
    town.call(SCHOOL, request(("stale-1", "乙"), ("stale-2", "乙")))
    gateway.store.run(lambda tx: students.register_all(tx, caller, made.students, prepared))
    with gateway.store.read() as reading:
        for local, given in (("stale-1", "丙"), ("stale-2", "甲")):
            assert students.load(reading, town.inside_id(local), SCHOOL).given_name == given
            assert row(town, local)["version"] == 3


def test_students_from_before_blind_ids_had_neighbours_and_names_were_enciphered_are_still_found(town: Any) -> None:
    name = town.call(SCHOOL, request(("old-1", "甲"))).names[0]
    inside, students = town.inside_id("old-1"), town.gate.gateway.door.students

    def age(tx: Any) -> None:
        for each in town.rows(tables.local_ids, partner=SCHOOL):
            tx.delete(tables.local_ids, SCHOOL, each["blind"])
            tx.insert(tables.local_ids, SCHOOL, bytes(each["blind"])[4:], each["student"])
        tx.insert(tables.pseudonyms, SCHOOL, "a" * 26, inside)

    town.gate.gateway.store.run(age)
    aged = type(students)(town.gate.gateway.door.keys)
    caller = town.gate.gateway.registry.find(SCHOOL)
    with town.gate.gateway.store.read() as reading:
        for ref in ({"local_id": "old-1"}, {"name": name}, {"name": f"students/{'a' * 26}"}):
            assert aged.resolve(reading, caller, StudentRef(**ref)).id == inside
    made = request(("old-1", "改"), ("old-2", "丙"))
    before = len(town.rows(tables.local_ids))
    found = town.gate.gateway.store.run(lambda tx: aged.register_all(tx, caller, made.students))
    assert found[0].id == inside
    assert len(town.rows(tables.local_ids)) == before + 1
