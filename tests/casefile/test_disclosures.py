"""The family's statement: every time fields of a student went to somebody, and nothing else, from the journal alone."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.casefile.v1 import plan_service_pb2 as plans
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.referral.v1 import referral_service_pb2 as ref
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import present

FAMILY = "family"


def statement(care, local, who=None, *, size=0):
    who = who or care.town.PSYCH
    name = {"local_id": local} if who == care.town.PSYCH else {"name": care.name(local, care.agency(who))}
    found, token = [], ""
    while True:
        page = care.town.call(who, rpc.ListDisclosuresRequest(student=name, page_size=size, page_token=token))
        found += page.disclosures
        token = page.next_page_token
        if not token:
            return found


def told(care, local):
    """The family portal knows the student: the school shares something with it."""
    care.share(local, FAMILY, purpose=9, classes=[2, 3])


def test_who_saw_which_fields_when_why_and_by_what(care):
    local = care.student("grid")
    share = care.share(local, "grid", classes=[2, 3])
    care.case("grid", local)
    made = care.town.refer(local, basis="life-safety", crisis_facts="facts", urgency=3)
    read, *_ = [each for each in statement(care, local) if each.partner == "grid" and each.kind == "read"]
    assert (read.actor, read.resource, read.purpose, read.basis) == ("grid", "GetCase", 4, share.name)
    assert list(read.classes) == [options.FIELD_CLASS_CASE_REF, options.FIELD_CLASS_IDENTITY]
    assert 0 <= care.town.clock.now_us() - read.time_us < 10_000_000
    assert read.policy_version == care.town.gate.gateway.door.policy.version
    went = [each for each in statement(care, local) if each.kind == "released" and each.partner == care.town.HOSPITAL]
    assert made.referral.name
    assert went[0].basis == "life-safety"
    assert "精神卫生法" in went[0].citation_zh
    assert "Mental Health Law" in went[0].citation_en
    assert (went[0].partner_zh, bool(went[0].entry)) == ("昆山示范精神卫生中心", True)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_pages_together_are_the_statement_although_each_page_adds_a_row(care, size):
    local = care.student("grid")
    care.share(local, "grid")
    for _ in range(4):
        care.case("grid", local)
    whole = [each.entry for each in statement(care, local)]
    paged = [each.entry for each in statement(care, local, size=size)]
    assert paged[1:] == whole  # the first is the reading of the whole, which is a disclosure too
    assert len(set(paged)) == len(paged)


def test_what_was_kept_back_or_refused_is_no_disclosure(care):
    local = care.student()
    assert care.town.refusal(care.town.PSYCH, care.share_request(local, "grid")).endswith("NO_CONSENT")
    assert care.town.refusal("police", rpc.GetCaseRequest(student={"name": care.name(local, "police")}))
    assert {each.partner for each in statement(care, local)} == {care.town.SCHOOL}


def test_a_family_is_not_told_of_a_mandatory_report_and_the_school_is(care):
    local = care.student()
    told(care, local)
    gateway, student = care.town.gate.gateway, care.town.inside_id(local)

    def report(tx):
        police = gateway.registry.find("police")
        message = gateway.door.students.load(tx, student, "police")
        gateway.door.release(
            tx, message, recipient=police, purpose=options.PURPOSE_MANDATORY_REPORT, student=student, relation="PARTY",
            kind="report", item="x", actor="psych-chen", key=care.town.key(), basis="mandatory-report", enqueue=False,
        )  # fmt: skip

    gateway.store.run(report)
    partners = {each.partner for each in statement(care, local, FAMILY)}
    assert partners == {care.town.SCHOOL, FAMILY}
    assert [each.purpose for each in statement(care, local) if each.partner == "police"] == [7]


def test_no_portal_tells_while_a_guardian_is_in_conflict(care):
    mother = {"full_name": "欧阳敏", "in_conflict": True}
    local = care.student(guardians=[mother])
    told(care, local)
    asked = rpc.ListDisclosuresRequest(student={"name": care.name(local, FAMILY)})
    assert care.town.refusal(FAMILY, asked) == "FAILED_PRECONDITION/GUARDIAN_IN_CONFLICT"
    assert statement(care, local)


def test_strangers_and_the_absent_get_one_answer(care):
    local = care.student()
    for ref_ in ({"name": care.name(local, "other-school")}, {"name": "students/" + "a" * 26}):
        asked = rpc.ListDisclosuresRequest(student=ref_)
        assert care.town.refusal("psych-li", asked) == "NOT_FOUND/STUDENT"
    for ref_ in (
        {"name": care.name(local, "grid")},
        {"local_id": local},
    ):  # another's name, and another's id of the student
        assert care.town.refusal(FAMILY, rpc.ListDisclosuresRequest(student=ref_)) == "NOT_FOUND/STUDENT"
    asked = rpc.ListDisclosuresRequest(student={"local_id": local}, page_token="eA")
    assert care.town.refusal(care.town.PSYCH, asked) == "INVALID_ARGUMENT/PAGE_TOKEN"


# -- complete, and nothing else -----------------------------------------------------------------------------------------

ACTS = [
    "case", "entries", "record", "share", "revoke", "refer", "deliver", "referral", "explain", "repeat", "withdraw", "denied",
    "shares", "statement",
]  # fmt: skip
PEOPLE = ["grid", "grid", "police", "kunshan-mental-health", "psych-chen", "psych-chen"]


# A history is not made shorter: each step of it is a real call.
@settings(max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_every_release_is_in_it_and_nothing_else(care, random):
    """The witness stands outside: what answers and deliveries really held, seen at the callers and at the partners."""
    town = care.town
    local, bystander = care.student("grid", "police"), care.student("grid")
    care.entry(bystander, "support")
    town.consent(local)
    expected, shares, seen = [], {}, len(town.recorder.seen)
    names = {care.name(local, agency) for agency in ("grid", "police", town.HOSPITAL, town.SCHOOL)}

    def call(who, request):
        answer = town.call(who, request)
        classes = shown_of(answer, local, names)
        if classes:
            expected.append((care.agency(who), classes))
        return answer

    expected_before = [(e.partner, set(e.classes)) for e in statement(care, local)][::-1]
    expected_before.append((town.SCHOOL, {options.FIELD_CLASS_CASE_REF}))  # that statement itself
    last = None
    for act in [*random.choices(ACTS, k=20), *random.sample(ACTS, k=len(ACTS))]:
        who, flag = random.choice(PEOPLE), random.random() < 0.5
        ref_ = {"local_id": local} if who == town.PSYCH else {"name": care.name(local, who)}
        try:
            match act:
                case "case":
                    call(who, rpc.GetCaseRequest(student=ref_))
                case "entries":
                    call(who, plans.ListEntriesRequest(student=ref_))
                case "record":
                    last = (who, care.entry_request(ref_.get("name", local), "support"))
                    last[1].request_id = town.key()
                    call(*last)
                case "repeat" if last:
                    call(*last)
                case "share" if who in ("grid", "police"):
                    made = call(town.PSYCH, care.share_request(local, who, classes=[2, 3] if flag else [2, 13])).share
                    expected.append((who, {options.FIELD_CLASS_CASE_REF}))
                    shares[who] = made
                case "revoke" if who in shares:
                    call(town.PSYCH, rpc.RevokeShareRequest(name=shares.pop(who).name, reason="OVER"))
                case "refer":
                    triage = town.confirmed(local)
                    for _ in range(2):  # the signal reported, the tier confirmed: both answers show the student's case
                        expected.append((town.SCHOOL, None))
                    made = call(town.PSYCH, town.refer_request(local, triage=triage)).referral
                    expected.append((town.HOSPITAL, None))
                case "deliver":
                    town.deliver_all()
                case "referral":
                    call(town.HOSPITAL, ref.ListReferralsRequest())
                case "explain":
                    call(
                        town.PSYCH,
                        rpc.ExplainDisclosureRequest(student={"local_id": local}, recipient="grid", purpose=4),
                    )
                case "withdraw" if flag:
                    for consent in call(town.PSYCH, rpc.GetCaseRequest(student={"local_id": local})).case.consents:
                        if consent.state == 1 and consent.recipient == who:
                            taken = call(town.PSYCH, rpc.WithdrawConsentRequest(name=consent.name))
                            if who == town.HOSPITAL:  # its adapter carries recalls: each names a record to delete
                                expected.extend((who, {options.FIELD_CLASS_CASE_REF}) for _ in taken.recalls)
                case "denied":
                    call("psych-li", rpc.GetCaseRequest(student={"local_id": local}))
                case "shares":
                    call(who, rpc.ListSharesRequest())
                case "statement":
                    call(town.PSYCH, rpc.ListDisclosuresRequest(student={"local_id": local}))
                case _:
                    pass
        except Refusal:
            pass
    got = [(e.partner, set(e.classes)) for e in statement(care, local)][::-1]
    assert got[: len(expected_before)] == expected_before
    _same(got[len(expected_before) :], expected)
    delivered = [r for agency, r in town.recorder.seen[seen:] if r.referral.referral.student in names]
    released = [e for e in statement(care, local) if e.kind == "released" and e.resource.startswith("deliveries/")]
    assert len(delivered) <= len([e for e in released if e.partner == town.HOSPITAL])


def shown_of(answer, local, names):
    """The classes of fields that an answer holds of one student, of a list only the records of that student."""
    fields = {field.name: value for field, value in answer.ListFields()}
    classes = 0
    for name, value in fields.items():
        if name in ("referrals", "shares") and answer.DESCRIPTOR.name.startswith("List"):
            for record in value:
                classes |= present(record) if record.student in names else 0
        elif name != "next_page_token":
            part = type(answer)()
            if answer.DESCRIPTOR.fields_by_name[name].is_repeated:
                getattr(part, name).extend(value)
            elif hasattr(value, "CopyFrom"):
                getattr(part, name).CopyFrom(value)
            else:
                setattr(part, name, value)
            classes |= present(part)
    if answer.DESCRIPTOR.name == "ExplainDisclosureResponse":
        return set()  # what would be, not what is
    return {each for each in range(1, 17) if classes >> each & 1}


def _same(got, expected):
    """Each row answers one act: the rows of an act may stand in either order, None stands for any classes."""
    left = list(got)
    for partner, classes in expected:
        found = next((row for row in left if row[0] == partner and classes in (None, row[1])), None)
        assert found is not None, (partner, classes, left)
        left.remove(found)
    assert left == []
