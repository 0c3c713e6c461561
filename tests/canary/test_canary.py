"""Unmistakable identities go in by every field; afterwards nothing readable of them is anywhere it should not be."""

import base64
import logging

import pytest
from sqlalchemy import create_engine, text

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import mailbox_service_pb2 as mail
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_service_pb2 as team
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.api.referral.v1 import notice_service_pb2 as notice
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as referral
from xinqiao.api.referral.v1 import return_service_pb2 as ret
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.contract.errors import Refusal
from xinqiao.journal.signing import load_signing_key, public_key_pem
from xinqiao.server.audit.pack import make_pack
from xinqiao.server.audit.record import Recorded

LOCAL = "QZXLOCAL2026"
WORDS = (
    LOCAL, "龘靐麤", "齉爩鸞", "QZXIDCARD99", "19988776655", "17766554433", "驫羴猋", "QZXCLASS", "灥厵厽",
    "QZXFACTS 想不开", "QZXOPINION", "QZXREASON", "QZXLOCATION 三号楼", "QZXNOTE", "QZXDIAGNOSIS", "QZXTREATMENT",
    "QZXADVICE", "QZXCARE", "QZXHOW", "QZXHOLDING", "QZXSEEN", "QZXGUIDE", "QZXWITNESS", "QZXUNWILLING", "QZXGROUNDS",
    "QZXREVOKED", "QZXFOUND", "QZXINSTITUTION", "QZXDOCTOR", "QZXCONDITION", "QZXMEDICATION", "QZXUNIT", "QZXPERIOD",
    "QZXTHEME", "QZXVISIT", "QZXGOAL", "QZXTASK", "QZXREPORT", "QZXLETTER 没人知道", "QZXANSWER",
)  # fmt: skip


def spellings(word):
    """The bytes by which somebody could read the word, with base64 at each of its three alignments."""
    found = {word.encode(), word.encode("gb18030"), word.encode("utf-16-le"), word.encode("utf-16-be")}
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + word.encode())
        inner = coded[4 if shift else 0 : -4]
        if len(inner) >= 8:
            found.add(inner)
    return found


NEEDLES = {needle for word in WORDS for needle in spellings(word)}


def found_in(data):
    return sorted(repr(needle) for needle in NEEDLES if needle in data)


@pytest.fixture(scope="module")
def scene(make_town, database):
    """Everything the gateway does, done once to the canary, over the wire; with all logs."""
    records = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: records.append(logging.Formatter().format(record))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    with make_town(database) as town:
        yield town, records, play(town)
    root.removeHandler(handler)
    root.setLevel(before)


def play(town):
    errors = []

    def call(partner, request, fails=False):
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = town.key()
        if not fails:
            return town.gate.call(partner, request)
        errors.append(town.refused(lambda: town.gate.call(partner, request)).text)
        try:
            town.gate.call_inside(partner, request)
        except Refusal as refusal:
            errors.append(f"{refusal} {refusal.metadata} {refusal.violations}".encode())
        return None

    student = {"local_id": LOCAL}
    register = case.RegisterStudentsRequest()
    child = register.students.add(
        local_id=LOCAL, family_name="龘靐麤", given_name="齉爩鸞", birth_date="2011-05-04", sex=2, phone="19988776655",
        national_id="QZXIDCARD99", school="3205830001", school_title="灥厵厽", grade="QZXCLASS", class_title="QZXCLASS",
    )  # fmt: skip
    child.guardians.add(full_name="驫羴猋", relation="母", phone="17766554433")
    call(town.SCHOOL, register)
    child.school = "3205839999"
    register.request_id = ""
    call(town.SCHOOL, register, fails=True)
    child.school, child.given_name, register.request_id = "3205830001", "齉爩鸞\u202e", ""
    call(town.SCHOOL, register, fails=True)
    report = scr.ReportSignalRequest(student=student, source=2, kind=1, facts="QZXFACTS 想不开", opinion="QZXOPINION")
    triage = call(town.PSYCH, report).triage
    call(town.PSYCH, scr.ConfirmTierRequest(name=triage.name, tier=4, note="QZXNOTE"))
    call(town.PSYCH, scr.ConfirmTierRequest(name=triage.name, tier=3, note="QZXNOTE"), fails=True)
    call(town.SCHOOL, scr.SubmitAssessmentRequest(
        student=student, instrument="PHQ-9", taken_on="2026-10-01", answers=bytes([3] * 9)
    ))  # fmt: skip
    refer = referral.CreateReferralRequest(
        student=student, recipient=town.HOSPITAL, triage=triage.name, urgency=3, reason="QZXREASON",
        crisis_facts="QZXFACTS 想不开", location="QZXLOCATION 三号楼", note="QZXNOTE",
    )  # fmt: skip
    refer.urgency = 2  # without a consent; an emergency would go under the law
    call(town.PSYCH, refer, fails=True)
    refer.urgency = 3
    consent = call(town.PSYCH, town.consent_request(LOCAL)).consent
    refer.request_id = ""
    name = call(town.PSYCH, refer).referral.name
    town.deliver_all()
    call(town.HOSPITAL, referral.AdvanceReferralRequest(name=name, event=3, reason="QZXREASON"))
    call(town.HOSPITAL, referral.AdvanceReferralRequest(name=name, event=9, reason="QZXHOLDING"))
    call(town.HOSPITAL, referral.AdvanceReferralRequest(name=name, event=12, reason="QZXREASON"), fails=True)
    call(town.HOSPITAL, referral.AdvanceReferralRequest(name=name, event=10))
    call(town.HOSPITAL, referral.ReportOutcomeRequest(name=name, outcome=ref.Outcome(
        diagnosis="QZXDIAGNOSIS", treatment="QZXTREATMENT", fitness=2, school_advice="QZXADVICE", care_advice="QZXCARE"
    )))  # fmt: skip
    law = call(town.PSYCH, town.refer_request(
        LOCAL, basis="life-safety", crisis_facts="QZXFACTS 想不开", reason="QZXREASON"
    ))  # fmt: skip
    call(town.PSYCH, case.DischargeDutyRequest(name=law.duty, how="QZXHOW"))
    call(town.PSYCH, case.GetCaseRequest(student=student))
    call("psych-li", case.GetCaseRequest(student=student), fails=True)
    notices_and_returns(town, call, student, triage.name)
    signals_and_reports(town, call, student)
    plans_and_letters(town, call, student)
    call(town.PSYCH, case.WithdrawConsentRequest(name=consent.name))
    town.recorder.down = True
    town.deliver_all()
    return errors


def notices_and_returns(town, call, student, triage):
    """A notice refused, reported to the police and served, its paper, and a leave: with a refusal of each."""
    issue = notice.IssueNoticeRequest(
        student=student, triage=triage, observed_behaviour="QZXSEEN 抑郁症", advice="QZXGUIDE"
    )  # fmt: skip
    call(town.PSYCH, issue, fails=True)
    issue.observed_behaviour, issue.request_id = "QZXSEEN", ""
    told = call(town.PSYCH, issue).notice
    call("psych-li", notice.GetNoticeRequest(name=told.name), fails=True)
    call(town.PSYCH, notice.RenderDocumentRequest(kind=1, subject=told.name))
    witness = {"witness": "QZXWITNESS", "time_us": town.clock.now_us(), "reason": "QZXUNWILLING"}
    call(town.PSYCH, notice.RefuseNoticeRequest(name=told.name, refusal=witness))
    police = notice.DecideNoticeRequest(
        name=told.name, police=town.HOSPITAL, grounds="QZXGROUNDS", crisis_facts="QZXFACTS 想不开",
        location="QZXLOCATION 三号楼", basis="life-safety",
    )  # fmt: skip
    call(town.PSYCH, police, fails=True)
    police.police, police.request_id = "police", ""
    call(town.PSYCH, police)
    call(town.PSYCH, notice.DecideNoticeRequest(name=told.name, grounds="QZXGROUNDS"), fails=True)
    receipt = {"channel": 1, "signer": "驫羴猋", "time_us": town.clock.now_us()}
    call(town.PSYCH, notice.ServeNoticeRequest(name=told.name, receipt=receipt))
    call(town.HOSPITAL, notice.VerifyNoticeRequest(short_form=told.short_form))
    call(town.HOSPITAL, notice.VerifyNoticeRequest(short_form="QZXSEEN"))
    call(town.PSYCH, notice.RevokeNoticeRequest(name=told.name, reason="QZXREVOKED"))
    leave = call(town.PSYCH, ret.OpenReturnRequest(student=student, found="QZXFOUND")).plan
    opinion = {
        "institution": "QZXINSTITUTION", "doctor": "QZXDOCTOR", "grade": 1, "conditions": ["QZXCONDITION"],
        "medication": "QZXMEDICATION",
    }  # fmt: skip
    call(town.PSYCH, ret.AdvanceReturnRequest(name=leave.name, event=1, opinion=opinion))
    call(town.PSYCH, ret.AdvanceReturnRequest(name=leave.name, event=10, reason="QZXREASON"), fails=True)
    over = ret.HandOverReturnRequest(name=leave.name, recipient="other-school", reason="QZXREASON")
    call(town.PSYCH, over, fails=True)
    call(town.PSYCH, ret.AdvanceReturnRequest(name=leave.name, event=15, reason="QZXREASON"))


def plans_and_letters(town, call, student):
    """A plan with entries, a share, a team with a task, and a mailbox that is unmasked: with a refusal of each."""
    call(town.PSYCH, plan.OpenPlanRequest(student=student, reason="RED_CASE"))
    call(town.PSYCH, plan.OpenPlanRequest(student=student, reason="RED_CASE"), fails=True)
    entries = (
        {"session": {"theme": "QZXTHEME", "note": "QZXNOTE"}}, {"home_visit": {"observed": "QZXVISIT"}},
        {"goal": {"text": "QZXGOAL", "state": 1}},
    )  # fmt: skip
    for content in entries:
        call(town.PSYCH, plan.RecordEntryRequest(student=student, entry={"day": "2026-10-12", **content}))
    late = {"day": "2027-10-12", **entries[1]}
    call(town.PSYCH, plan.RecordEntryRequest(student=student, entry=late), fails=True)
    until = town.clock.now_us() + 10**12
    share = case.ShareCaseRequest(
        student=student, recipient="grid", purpose=4, classes=[2, 13], not_after_us=until, reason="VISITS"
    )  # fmt: skip
    call(town.PSYCH, share, fails=True)  # without a consent
    call(town.PSYCH, town.consent_request(LOCAL, recipient="grid", purpose=4, classes=[2, 3, 4, 13]))
    share.request_id = ""
    call(town.PSYCH, share)
    group = call(town.PSYCH, team.OpenTeamRequest(student=student)).team
    call(
        town.PSYCH,
        team.AddMemberRequest(team=group.name, recipient="grid", role=2, not_after_us=until, reason="VISITS"),
    )
    task = call(town.PSYCH, team.AssignTaskRequest(team=group.name, holder="grid", due_us=until, what="QZXTASK")).task
    call("police", team.ReportTaskRequest(name=task.name, report="QZXREPORT"), fails=True)
    call("grid", team.ReportTaskRequest(name=task.name, report="QZXREPORT"))
    written = call(town.SCHOOL, mail.WriteLetterRequest(student=student, text="QZXLETTER 没人知道 我不想活"))
    box = written.letter.mailbox
    call(town.SCHOOL, mail.ReadMailboxRequest(mailbox=box, key=bytes(32)), fails=True)
    call("worker-lu", mail.AnswerLetterRequest(name=written.letter.name, text="QZXANSWER"))
    asked = mail.AskUnmaskRequest(mailbox=box, red_rule="curious", facts="QZXFACTS 想不开")
    call("worker-lu", asked, fails=True)
    asked.red_rule, asked.request_id = "wants-to-die", ""
    call("worker-lu", asked)
    call(town.PSYCH, mail.DecideUnmaskRequest(mailbox=box, approve=True, reason="TALKED"))


def signals_and_reports(town, call, student):
    """A signal with a place and an opinion, a second source, reports and a drill that name what they should not."""
    report = scr.ReportSignalRequest(
        student=student, source=2, kind=3, facts="QZXFACTS 想不开", opinion="QZXOPINION", location="QZXLOCATION 三号楼"
    )  # fmt: skip
    call(town.PSYCH, report)
    report.request_id, report.source = "", 4
    call(town.PSYCH, report, fails=True)
    report.request_id, report.source, report.student.local_id = "", 2, f"{LOCAL}-stranger"
    call(town.PSYCH, report, fails=True)
    words = {"cadence": "class-teacher", "period": "QZXPERIOD", "school": "3205830001", "unit": "QZXUNIT"}
    call(town.SCHOOL, scr.SubmitReportRequest(**words), fails=True)
    call(town.OPERATOR, referral.StartDrillRequest(school="QZXCLASS"), fails=True)
    call(town.OPERATOR, gateway.CloseHoldingRequest(item=f"intake/{LOCAL}", reason="MENDED"), fails=True)


def test_the_scene_really_carried_the_canaries(scene):
    """Without this, everything below could pass on an empty stage."""
    town, _, _ = scene
    delivered = "".join(str(request) for _, request in town.recorder.seen)
    shown = str(town.gate.call(town.PSYCH, referral.ListReferralsRequest()))
    assert "QZXIDCARD99" in delivered
    assert "QZXLOCATION" in delivered
    assert "QZXREASON" in shown
    assert "QZXNOTE" not in delivered + shown
    notices = str(town.gate.call(town.PSYCH, notice.ListNoticesRequest()))
    plans = str(town.gate.call(town.PSYCH, ret.ListReturnsRequest()))
    whole = str(town.gate.call(town.PSYCH, case.GetCaseRequest(student={"local_id": LOCAL})))
    assert [word for word in ("QZXTHEME", "QZXVISIT", "QZXGOAL") if word not in whole] == []
    letters = "".join(each.text for each in town.gate.call("worker-lu", mail.ListLettersRequest()).letters)
    assert "QZXLETTER" in letters
    assert "QZXANSWER" in letters
    assert "QZXSEEN" in notices
    assert "QZXWITNESS" in notices
    assert "QZXFOUND" in plans
    assert "QZXCONDITION" in plans


def test_no_file_of_the_deployment_holds_anything_readable(scene):
    town, _, _ = scene
    seen = {path.name: found_in(path.read_bytes()) for path in town.gate.folder.rglob("*") if path.is_file()}
    assert len(seen) > 5
    assert {name: hits for name, hits in seen.items() if hits} == {}


def test_no_column_of_the_databases_holds_anything_readable(scene):
    town, _, _ = scene
    settings = town.gate.gateway.settings.store
    for url in (settings.url, settings.keys_url):
        engine = create_engine(str(url))
        with engine.connect() as connection:
            names = engine.dialect.get_table_names(connection)
            assert names
            for table in names:
                for row in connection.execute(text(f"SELECT * FROM {table}")):
                    whole = b"|".join(bytes(v) if isinstance(v, (bytes, memoryview)) else str(v).encode() for v in row)
                    assert found_in(whole) == [], table
        engine.dispose()


def test_no_log_line_of_any_level_holds_anything_readable(scene):
    _, records, _ = scene
    assert any("xinqiao" in line or "PERMISSION_DENIED" in line for line in records)
    assert found_in("\n".join(records).encode()) == []


def test_no_refusal_holds_anything_readable(scene):
    _, _, errors = scene
    assert len(errors) >= 30
    assert found_in(b"\n".join(errors)) == []


def test_an_operator_sees_counts_and_references_only(scene):
    town, _, _ = scene
    for request in (
        gateway.GetStatusRequest(), gateway.ListDeliveriesRequest(), referral.ListHoldingsRequest(),
        scr.ListSignalsRequest(),
    ):  # fmt: skip
        answer = town.gate.call(town.OPERATOR, request)
        assert answer.ByteSize()
        assert found_in(answer.SerializeToString() + str(answer).encode()) == []


def test_a_journal_row_names_no_one(scene):
    town, _, _ = scene
    rows = town.journal()
    assert len(rows) > 20
    assert found_in(repr(rows).encode()) == []


def test_an_audit_pack_holds_nothing_readable_and_no_id_of_a_student(scene, tmp_path):
    town, _, _ = scene
    settings, public = town.gate.gateway.settings, tmp_path / "journal.pub"
    public.write_bytes(public_key_pem(load_signing_key(settings.journal.signing_key)))
    make_pack(
        settings, town.clock, year=2026, folder=tmp_path / "pack", public_key=public, by=town.OPERATOR,
        recorded=Recorded("", "READ_ONLY"),
    )  # fmt: skip
    inside = town.inside_id(LOCAL)
    names = {town.gate.gateway.door.students.name(each, inside) for each in (town.SCHOOL, town.HOSPITAL, "police")}
    files = {path.name: path.read_bytes() for path in (tmp_path / "pack").iterdir()}
    assert "disclosures.csv" in files
    for name, content in files.items():
        assert not found_in(content), name
        assert not [each for each in (inside, *names) if each.encode() in content], name
