"""Every read is on record: what it showed as permitted, what it kept back whole as denied, with the reason."""

from typing import Any

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc


def reads(town: Any, local: str, actor: str) -> list[tuple[str, bool, str]]:
    rows = town.journal(kind="read", student=town.inside_id(local), actor=actor)
    return [(str(row["decision"]), row["classes"] > 0, str(row["reason"])) for row in rows]


def referred(town: Any) -> tuple[str, str, str]:
    local = town.student()
    consent = town.consent(local).name
    return local, consent, town.refer(local, reason="reason").referral.name


def test_what_is_shown_is_a_permit_with_its_classes(fresh_town):
    town = fresh_town
    local, _, name = referred(town)
    town.call(town.HOSPITAL, ref_rpc.GetReferralRequest(name=name))
    assert reads(town, local, town.HOSPITAL) == [("permit", True, "")]


def test_a_read_of_which_everything_was_kept_back_is_a_denial_with_its_reason(fresh_town):
    town = fresh_town
    local = town.student()
    consent = town.consent(local, recipient="grid", purpose=4).name
    door, student = town.gate.gateway.door, town.inside_id(local)
    until = town.clock.now_us() + 86_400_000_000
    share = case_rpc.ShareCaseRequest(recipient="grid", purpose=4, classes=[2, 3], not_after_us=until, reason="VISITS")
    share.student.local_id = local
    name = town.call(town.PSYCH, share).share.name
    request = case_rpc.GetCaseRequest()
    request.student.name = door.students.name("grid", student)
    assert town.call("grid", request).case.student.family_name == "欧阳"
    assert [row["basis"] for row in town.journal(kind="read", student=student, actor="grid")] == [name]
    town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consent))
    assert not town.call("grid", request).case.student.ByteSize()
    assert reads(town, local, "grid") == [("permit", True, ""), ("deny", False, "WITHDRAWN")]


def test_an_explanation_that_shows_no_record_is_no_denial(fresh_town):
    town = fresh_town
    local, _, _ = referred(town)
    request = case_rpc.ExplainDisclosureRequest(recipient=town.HOSPITAL, purpose=2)
    request.student.local_id = local
    town.call(town.PSYCH, request)
    assert reads(town, local, town.PSYCH) == [("permit", False, "")]
