"""The contracts over the wire, against the real edge: each RPC once, repeats, versions, pages, strangers."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import consent_service_pb2 as con
from xinqiao.api.casefile.v1 import mailbox_service_pb2 as mailbox
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_service_pb2 as team
from xinqiao.api.exchange.v1 import activity_service_pb2 as activity
from xinqiao.api.exchange.v1 import exchange_service_pb2 as exchange
from xinqiao.api.exchange.v1 import report_service_pb2 as report
from xinqiao.api.gateway.v1 import access_service_pb2 as access
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.api.gateway.v1 import retention_service_pb2 as keep
from xinqiao.api.referral.v1 import notice_service_pb2 as notice
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as referral
from xinqiao.api.referral.v1 import return_service_pb2 as ret
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.contract.methods import methods
from xinqiao.store import holdings, tables

PATHS = {method.request: path for path, method in methods().items()}


def raw(channel, request, data=None, timeout=20.0):
    """The answer's bytes."""
    call = channel.unary_unary(PATHS[type(request)])
    return call(request.SerializeToString(deterministic=True) if data is None else data, timeout=timeout)


def submission(local, key, **words):
    request = scr.SubmitAssessmentRequest(
        request_id=key, instrument="PHQ-9", taken_on="2026-10-01", answers=bytes([1] * 9), **words
    )
    request.student.local_id = local
    return request


def test_every_rpc_of_every_contract_answers_its_partner(wire):
    used = set()

    def call(partner, request):
        used.add(PATHS[type(request)])
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = wire.key()
        wire.clock.advance(timedelta(milliseconds=1))
        return wire.gate.call(partner, request)

    register = case.RegisterStudentsRequest()
    register.students.add(
        local_id="rpc-1", school="3205830001", birth_date="2011-05-04", family_name="欧阳",
        guardians=[{"full_name": "欧阳敏"}],
    )  # fmt: skip
    assert len(call(wire.SCHOOL, register).names) == 1
    made = call(wire.SCHOOL, scr.SubmitAssessmentRequest(
        student={"local_id": "rpc-1"}, instrument="PHQ-9", taken_on="2026-10-01", answers=bytes([3] * 9)
    ))  # fmt: skip
    assert made.assessment.critical
    assert call(wire.SCHOOL, scr.GetAssessmentRequest(name=made.assessment.name)).assessment == made.assessment
    listed = call(wire.SCHOOL, scr.ListAssessmentsRequest(student={"local_id": "rpc-1"}))
    assert [a.name for a in listed.assessments] == [made.assessment.name]
    assert made.signal in [s.name for s in call(wire.PSYCH, scr.ListSignalsRequest()).signals]
    assert call(wire.PSYCH, scr.AcknowledgeSignalRequest(name=made.signal)).signal.state == 2
    reported = call(wire.PSYCH, scr.ReportSignalRequest(student={"local_id": "rpc-1"}, source=2, kind=1, facts="seen"))
    unknown = {"described": {"school": "3205830001", "full_name": "某某"}}
    alerts = [
        call("police", scr.ReportSignalRequest(student=unknown, source=6, kind=1, facts="seen")).alert for _ in range(2)
    ]
    assert call("police", scr.GetSignalStateRequest(name=alerts[0])).state == 1
    assert {a.name for a in call(wire.PSYCH, scr.ListAlertsRequest()).alerts} == set(alerts)
    found = call(wire.PSYCH, scr.IdentifyAlertRequest(name=alerts[0], student={"local_id": "rpc-1"}))
    assert found.signal.name == found.alert.signal
    assert call(wire.PSYCH, scr.PassAlertRequest(name=alerts[1], reason="NOT_FOUND_HERE")).alert.state == 3
    assert reported.triage.name in [t.name for t in call(wire.PSYCH, scr.ListTriagesRequest(open_only=True)).triages]
    assert call(wire.PSYCH, scr.ConfirmTierRequest(name=made.triage.name, tier=4)).triage.confirmed == 4
    consent = call(wire.PSYCH, wire.consent_request("rpc-1")).consent
    explained = call(wire.PSYCH, case.ExplainDisclosureRequest(
        student={"local_id": "rpc-1"}, recipient=wire.HOSPITAL, purpose=2
    ))  # fmt: skip
    assert len(explained.verdicts) == 16
    created = call(wire.PSYCH, referral.CreateReferralRequest(
        student={"local_id": "rpc-1"}, recipient=wire.HOSPITAL, triage=made.triage.name, urgency=3, reason="r",
        crisis_facts="f", basis="life-safety",
    ))  # fmt: skip
    name = created.referral.name
    assert call(wire.PSYCH, case.GetCaseRequest(student={"local_id": "rpc-1"})).case.duties[0].name == created.duty
    assert call(wire.PSYCH, case.DischargeDutyRequest(name=created.duty, how="told the mother")).duty.state == 2
    assert call(wire.HOSPITAL, referral.GetReferralRequest(name=name)).referral.name == name
    assert name in [r.name for r in call(wire.HOSPITAL, referral.ListReferralsRequest()).referrals]
    assert name in [h.item for h in call(wire.HOSPITAL, referral.ListHoldingsRequest()).holdings]
    accept = referral.AdvanceReferralRequest(name=name, event=ref.REFERRAL_EVENT_ACCEPT)
    assert call(wire.HOSPITAL, accept).referral.state == ref.REFERRAL_STATE_ACCEPTED
    outcome = referral.ReportOutcomeRequest(name=name, outcome={"school_advice": "rest"})
    assert call(wire.HOSPITAL, outcome).referral.state == ref.REFERRAL_STATE_OUTCOME_REPORTED
    assert call(wire.PSYCH, case.WithdrawConsentRequest(name=consent.name)).consent.state == 3
    assert call(wire.PSYCH, con.GetWithdrawalRequest(name=consent.name)).consent.name == consent.name
    seen = con.BreakGlassRequest(student={"name": call(wire.HOSPITAL, referral.GetReferralRequest(name=name)).referral.student},
                                 basis="life-safety", facts="f")  # fmt: skip
    opened = call(wire.HOSPITAL, seen).override
    assert [o.name for o in call(wire.PSYCH, con.ListOverridesRequest()).overrides] == [opened]
    recall = call(wire.PSYCH, con.DecideOverrideRequest(name=opened, approve=False, note="n")).recall
    assert recall in [r.name for r in call(wire.HOSPITAL, con.ListRecallsRequest()).recalls]
    used.add(PATHS[con.ConfirmRecallRequest])
    bad = con.ConfirmRecallRequest(
        request_id=wire.key(), name=recall, receipt={"receipt": b"x", "signature": bytes(64)}
    )
    assert wire.refused(lambda: wire.gate.call(wire.HOSPITAL, bad)).word == "FAILED_PRECONDITION/RECEIPT_KEY"
    closed = con.CloseRecallRequest(name=recall, action=1, how="letter")
    assert call(wire.PSYCH, closed).recall.state == 4

    told = call(wire.PSYCH, notice.IssueNoticeRequest(
        student={"local_id": "rpc-1"}, triage=made.triage.name, observed_behaviour="seen", advice="go"
    )).notice  # fmt: skip
    assert call(wire.PSYCH, notice.GetNoticeRequest(name=told.name)).notice == told
    assert told.name in [n.name for n in call(wire.PSYCH, notice.ListNoticesRequest()).notices]
    printed = call(wire.PSYCH, notice.RenderDocumentRequest(kind=1, subject=told.name))
    assert (printed.pdf[:5], printed.form_version) == (b"%PDF-", "notice-2026-11")
    now = wire.clock.now_us()
    refusal = {"witness": "w", "time_us": now}
    assert call(wire.PSYCH, notice.RefuseNoticeRequest(name=told.name, refusal=refusal)).notice.state == 3
    assert call(wire.PSYCH, notice.DecideNoticeRequest(name=told.name, grounds="g")).notice.state == 1
    receipt = {"channel": 1, "signer": "欧阳敏", "time_us": now}
    assert call(wire.PSYCH, notice.ServeNoticeRequest(name=told.name, receipt=receipt)).notice.state == 2
    verified = call(wire.HOSPITAL, notice.VerifyNoticeRequest(short_form=told.short_form))
    assert (verified.verdict, verified.priority_due) == (1, True)
    assert call(wire.PSYCH, notice.RevokeNoticeRequest(name=told.name, reason="r")).notice.state == 6
    leave = call(wire.PSYCH, ret.OpenReturnRequest(student={"local_id": "rpc-1"}, found="f")).plan
    opinion = {"institution": "h", "grade": 1}
    leave = call(wire.PSYCH, ret.AdvanceReturnRequest(name=leave.name, event=1, opinion=opinion)).plan
    assert call(wire.PSYCH, ret.GetReturnRequest(name=leave.name)).plan == leave
    assert leave.name in [p.name for p in call(wire.PSYCH, ret.ListReturnsRequest()).plans]
    used.add(PATHS[ret.HandOverReturnRequest])
    over = ret.HandOverReturnRequest(request_id=wire.key(), name=leave.name, recipient="other-school", reason="r")
    assert wire.refused(lambda: wire.gate.call(wire.PSYCH, over)).word == "FAILED_PRECONDITION/STATE"

    plans_shares_and_letters(wire, call)
    assert call(wire.OPERATOR, gateway.GetStatusRequest()).deployment == "kunshan"
    assert all(each.mend for each in call(wire.OPERATOR, gateway.ListRepairsRequest()).repairs)
    (delivery,) = [d for d in call(wire.OPERATOR, gateway.ListDeliveriesRequest()).deliveries if d.kind == "referral"]
    store = wire.gate.gateway.store
    store.run(lambda tx: tx.update(tables.deliveries, (delivery.name.removeprefix("deliveries/"),), state=4))
    looks(wire, call, delivery.name)
    assert call(wire.OPERATOR, gateway.RetryDeliveryRequest(name=delivery.name)).delivery.state == 1
    tried = gateway.BeginShadowRunRequest(pack="three-colours@1", digest="0" * 64)
    assert call(wire.OPERATOR, tried).forms == 1
    hold = {"kind": "intake", "school": "", "holder": wire.OPERATOR, "deadline_us": 2**60, "step": "mend"}
    store.run(lambda tx: holdings.hold(tx, "intake/x/y", **hold))
    closing = gateway.CloseHoldingRequest(item="intake/x/y", reason="MENDED_ELSEWHERE")
    assert call(wire.OPERATOR, closing).holding.kind == "intake"
    assert call(wire.OPERATOR, exchange.RunExchangeRequest(exchange="monthly", period="2026-09")).runs
    settled = call(wire.OPERATOR, exchange.ListExchangeRunsRequest()).runs
    call(wire.OPERATOR, exchange.ListExchangeItemsRequest(run=settled[0].name))
    books = exchange.SubmitPackageRequest(exchange="monthly", period="2026-09")
    books.records.add(source="row-1", student={"local_id": "rpc-1"})
    assert call(wire.SCHOOL, books).matched == 1
    looked = exchange.PreviewExchangeRequest(exchange="monthly", period="2026-09")
    assert call(wire.OPERATOR, looked).partner in call(wire.OPERATOR, looked).partners
    done = {"source": "a-1", "kind": 13, "day": "2026-09-30", "times": 7}
    assert call("hotline", activity.RecordActivitiesRequest(activities=[done])).recorded == 1
    assert [a.times for a in call("hotline", activity.ListActivitiesRequest()).activities] == [7]
    assert call(wire.OPERATOR, report.MakeReportRequest(report="monthly", period="2026-09")).report.figures
    wire.gate.gateway.reports.tick(store)
    owed = call(wire.PSYCH, scr.ListExpectedReportsRequest(open_only=True)).reports[0]
    came = scr.SubmitReportRequest(cadence=owed.cadence, period=owed.period, school=owed.subject, nil_report=True)
    assert call(wire.SCHOOL, came).report.state == 3
    drill = call(wire.OPERATOR, referral.StartDrillRequest()).drill
    assert call(wire.OPERATOR, referral.GetDrillRequest(name=drill.name)).drill.school == drill.school
    assert call(wire.OPERATOR, referral.FinishDrillRequest(name=drill.name)).drill.end_time_us
    assert [d.name for d in call(wire.OPERATOR, referral.ListDrillsRequest()).drills] == [drill.name]
    held = call(wire.PSYCH, keep.PlaceLegalHoldRequest(student={"local_id": "rpc-1"}, reason="INQUIRY"))
    assert call(wire.OPERATOR, keep.GetRetentionRequest()).holds == 1
    call(wire.PSYCH, keep.ReleaseLegalHoldRequest(name=held.name, reason="INQUIRY_CLOSED"))
    register.request_id, register.students[0].local_id = "", "rpc-9"
    call(wire.SCHOOL, register)
    gone = case.ShredStudentRequest(student={"local_id": "rpc-9"}, reason="GUARDIAN_ASKED", confirm="rpc-9")
    assert call(wire.PSYCH, gone).shredded_us == wire.clock.now_us()
    before = call(wire.OPERATOR, gateway.GetKeysRequest()).keys
    assert call(wire.OPERATOR, gateway.RotateKeysRequest(reason="YEARLY")).keys.current == before.current + 1
    early = gateway.DestroyRetiredKeysRequest(request_id=wire.key(), reason="YEARLY")
    assert wire.refused(lambda: wire.gate.call(wire.OPERATOR, early)).word == "FAILED_PRECONDITION/ROTATION_RUNNING"
    while wire.gate.gateway.store.keys.rewrapping:
        wire.gate.gateway.keyring.tick()
    destroyed = call(wire.OPERATOR, gateway.DestroyRetiredKeysRequest(reason="YEARLY"))
    assert list(destroyed.versions) == [before.current]
    taped = gateway.RecordTrafficRequest(agency=wire.HOSPITAL, minutes=1, reason="REPAIR:ticket-1")
    assert call(wire.OPERATOR, taped).end_time_us == wire.clock.now_us() + 60_000_000
    upload = scr.UploadAssessmentsRequest
    used.add(PATHS[upload])
    stream = wire.gate.channel(wire.SCHOOL).stream_stream(
        PATHS[upload], upload.SerializeToString, scr.UploadAssessmentsResponse.FromString
    )
    header = upload(header={"upload_id": wire.key(), "instrument": "PHQ-9", "taken_on": "2026-10-02"})
    batch = upload(batch={"number": 1, "local_ids": ["rpc-1"], "answers": bytes(9)})
    assert [list(a.verdicts) for a in stream(iter([header, batch]), timeout=20)] == [[], [1]]
    assert used == set(methods())


def looks(wire, call, dead):
    """Every RPC of looking at a record with a second person's word, once."""
    student, reason = {"local_id": "rpc-1"}, "FAMILY_REQUEST:letter-1"
    asked = call(wire.OPERATOR, access.RequestAccessRequest(delivery=dead, reason="REPAIR:ticket-1"))
    names = [each.name for each in call(wire.PSYCH, access.ListAccessRequestsRequest(open_only=True)).requests]
    assert names == [asked.access.name]
    yes = access.DecideAccessRequest(name=names[0], approve=True, reason="TICKET_SEEN")
    assert call(wire.PSYCH, yes).access.state == access.ACCESS_STATE_APPROVED
    look = access.GetDeadLetterRequest(name=dead, token=asked.token, reason="REPAIR:ticket-1")
    assert call(wire.OPERATOR, look).content.referral.referral.name
    asked = call(wire.PSYCH, access.RequestAccessRequest(student=student, reason=reason))
    call(wire.OPERATOR, access.DecideAccessRequest(name=asked.access.name, approve=True, reason="LETTER_SEEN"))
    got = call(wire.PSYCH, access.ExportStudentRequest(student=student, token=asked.token, reason=reason)).export
    assert (got.student.local_id, len(got.notices), len(got.returns)) == ("rpc-1", 1, 1)
    assert {each.name for each in got.entries} and {each.name for each in got.tasks}


def plans_shares_and_letters(wire, call):
    """Every RPC of plans, shares, care teams and mailboxes, once."""
    student, until = {"local_id": "rpc-1"}, wire.clock.now_us() + 20 * 86_400_000_000
    mine = call(wire.PSYCH, plan.OpenPlanRequest(student=student, reason="RED_CASE")).plan
    support = {"day": "2026-10-12", "support": {"what": "w"}}
    entry = call(wire.PSYCH, plan.RecordEntryRequest(student=student, entry=support)).entry
    assert [e.name for e in call(wire.PSYCH, plan.GetPlanRequest(name=mine.name)).plan.entries] == [entry.name]
    assert call(wire.PSYCH, plan.ListEntriesRequest(student=student)).entries[0].name == entry.name
    call(wire.PSYCH, wire.consent_request("rpc-1", recipient="grid", purpose=4, classes=[2, 3, 4, 13]))
    share = call(wire.PSYCH, case.ShareCaseRequest(
        student=student, recipient="grid", purpose=4, classes=[2, 3], not_after_us=until, reason="VISITS"
    )).share  # fmt: skip
    assert [s.name for s in call("grid", case.ListSharesRequest()).shares] == [share.name]
    assert "share.given" in [e.kind for e in call(wire.PSYCH, case.ListCaseEventsRequest(student=student)).events]
    assert call(wire.PSYCH, case.ListDisclosuresRequest(student=student)).disclosures
    assert call(wire.PSYCH, case.RevokeShareRequest(name=share.name, reason="OVER")).share.state == 2
    group = call(wire.PSYCH, team.OpenTeamRequest(student=student)).team
    member = team.AddMemberRequest(team=group.name, recipient="grid", role=2, not_after_us=until, reason="VISITS")
    assert call(wire.PSYCH, member).member.team
    task = team.AssignTaskRequest(team=group.name, holder="grid", due_us=until, what="w")
    task = call(wire.PSYCH, task).task
    assert call("grid", team.HandTaskRequest(name=task.name, holder=wire.PSYCH)).task.holder == wire.PSYCH
    assert call(wire.PSYCH, team.ReportTaskRequest(name=task.name, report="r")).task.state == 2
    assert len(call("grid", team.GetTeamRequest(name=group.name)).team.members) == 1
    assert [t.name for t in call("grid", team.ListTeamsRequest()).teams] == [group.name]
    assert call(wire.PSYCH, team.CloseTeamRequest(name=group.name, reason="OVER")).team.state == 2
    assert call(wire.PSYCH, plan.ClosePlanRequest(name=mine.name, reason="OVER")).plan.state == 2
    letter = call(wire.SCHOOL, mailbox.WriteLetterRequest(student=student, text="t"))
    box = letter.letter.mailbox
    assert [x.name for x in call("worker-lu", mailbox.ListLettersRequest()).letters] == [letter.letter.name]
    assert call("worker-lu", mailbox.AnswerLetterRequest(name=letter.letter.name, text="a")).letter.text == "a"
    assert len(call(wire.SCHOOL, mailbox.ReadMailboxRequest(mailbox=box, key=letter.key)).letters) == 2
    asked = mailbox.AskUnmaskRequest(mailbox=box, red_rule="stated-plan", facts="f")
    assert call("worker-lu", asked).mailbox.state == 2
    assert [m.name for m in call(wire.PSYCH, mailbox.ListMailboxesRequest()).mailboxes] == [box]
    decided = call(wire.PSYCH, mailbox.DecideUnmaskRequest(mailbox=box, approve=True, reason="RED"))
    assert decided.signal.startswith("signals/")


def test_the_stub_of_pytest_grpc_speaks_to_the_real_edge(grpc_stub, wire):
    local = wire.student()
    answer = grpc_stub.SubmitAssessment(submission(local, wire.key()), timeout=20)
    assert answer.assessment.complete


def test_a_repeat_gets_the_same_bytes_and_stores_nothing(wire, grpc_channel):
    request = submission(wire.student(), wire.key())
    first = raw(grpc_channel, request)
    effects = {"kind": "assessment.submitted"}
    before = len(wire.rows(tables.assessments)), len(wire.journal(**effects))
    assert [raw(grpc_channel, request) for _ in range(3)] == [first] * 3
    assert (len(wire.rows(tables.assessments)), len(wire.journal(**effects))) == before


def test_two_hundred_calls_at_once_under_one_key_have_one_effect(wire, grpc_channel):
    local = wire.student()
    request = submission(local, wire.key())

    def attempt(_):
        while True:
            try:
                return raw(grpc_channel, request)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    continue  # HTTP/2 REFUSED_STREAM: the transport's limit, so the call had no effect
                word = wire.refused(lambda error=error: (_ for _ in ()).throw(error)).word
                assert word in ("ABORTED/IN_PROGRESS", "RESOURCE_EXHAUSTED/OVERLOADED")

    with ThreadPoolExecutor(80) as pool:
        answers = list(pool.map(attempt, range(200)))
    assert len(set(answers)) == 1
    assert len(wire.rows(tables.assessments, student=wire.inside_id(local))) == 1
    assert len(wire.journal(kind="assessment.submitted", student=wire.inside_id(local))) == 1


def test_the_key_of_one_partner_is_not_anothers(wire):
    local, key = wire.student(), wire.key()
    wire.gate.call(wire.SCHOOL, submission(local, key))
    wire.gate.call(wire.PSYCH, submission(local, key))
    assert len(wire.rows(tables.assessments, student=wire.inside_id(local))) == 2


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_together_hold_every_record_once_in_order(wire, size):
    local = wire.student()
    names = [wire.submit(local, bytes(9)).assessment.name for _ in range(7)]
    seen, token = [], ""
    while True:
        request = scr.ListAssessmentsRequest(student={"local_id": local}, page_size=size, page_token=token)
        page = wire.gate.call(wire.SCHOOL, request)
        assert len(page.assessments) <= size
        seen += [a.name for a in page.assessments]
        if not (token := page.next_page_token):
            break
    assert seen == names[::-1]


@pytest.mark.parametrize("token", ["x", "####", "bm90LWEtdG9rZW4", "=" * 8])
def test_a_page_token_that_is_not_ours_is_refused(wire, token):
    request = scr.ListTriagesRequest(page_token=token)
    assert wire.refused(lambda: wire.gate.call(wire.PSYCH, request)).word == "INVALID_ARGUMENT/PAGE_TOKEN"


FOREIGN = {
    "assessment": lambda i: scr.GetAssessmentRequest(name=f"assessments/{i}"),
    "triage": lambda i: scr.ConfirmTierRequest(request_id="foreign-0001", name=f"triages/{i}", tier=4),
    "signal": lambda i: scr.AcknowledgeSignalRequest(request_id="foreign-0001", name=f"signals/{i}"),
    "signal-state": lambda i: scr.GetSignalStateRequest(name=f"signals/{i}"),
    "referral": lambda i: referral.GetReferralRequest(name=f"referrals/{i}"),
    "referral-event": lambda i: referral.AdvanceReferralRequest(
        request_id="foreign-0001", name=f"referrals/{i}", event=3
    ),
    "duty": lambda i: case.DischargeDutyRequest(request_id="foreign-0001", name=f"duties/{i}", how="h"),
    "consent": lambda i: case.WithdrawConsentRequest(request_id="foreign-0001", name=f"consents/{i}"),
}


@pytest.fixture(scope="module")
def theirs(wire):
    """One record of each kind, of a school that is not the caller's."""
    local = wire.student()
    submitted = wire.submit(local)
    made = wire.refer(local, basis="life-safety", crisis_facts="f", urgency=3)
    return {
        "assessment": submitted.assessment.name, "triage": submitted.triage.name, "signal": submitted.signal,
        "signal-state": submitted.signal,
        "referral": made.referral.name, "referral-event": made.referral.name, "duty": made.duty,
        "consent": wire.consent(local).name,
    }  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_strangers_record_and_an_absent_one_get_the_same_answer(wire, theirs, kind):
    name = theirs[kind].split("/")[1]
    foreign = wire.refused(lambda: wire.gate.call("psych-li", FOREIGN[kind](name)))
    absent = wire.refused(lambda: wire.gate.call("psych-li", FOREIGN[kind]("0" * 32)))
    assert foreign == absent
    assert foreign.code == "NOT_FOUND"


def test_a_strangers_student_and_an_absent_one_get_the_same_answer(wire):
    mine, name = wire.student(), ""
    name = wire.gate.call(wire.PSYCH, case.GetCaseRequest(student={"local_id": mine})).case.student.name
    answers = [
        wire.refused(lambda ref=ref: wire.gate.call("psych-li", case.GetCaseRequest(student=ref)))
        for ref in ({"local_id": mine}, {"local_id": "nobody"}, {"name": name}, {"name": "students/" + "a" * 26})
    ]
    assert len(set(answers)) == 1
    assert answers[0].word == "NOT_FOUND/STUDENT"


def test_a_stale_etag_is_aborted_and_changes_nothing(wire):
    triage = wire.submit(wire.student()).triage
    stale = scr.ConfirmTierRequest(request_id=wire.key(), name=triage.name, tier=4, etag="7")
    assert wire.refused(lambda: wire.gate.call(wire.PSYCH, stale)).word == "ABORTED/VERSION"
    fresh = scr.ConfirmTierRequest(request_id=wire.key(), name=triage.name, tier=4, etag=triage.etag)
    assert wire.gate.call(wire.PSYCH, fresh).triage.etag != triage.etag


def test_a_refused_call_can_be_repeated_and_is_refused_again_the_same_way(wire):
    local = wire.student()
    request = wire.refer_request(local)
    request.request_id = wire.key()
    answers = [wire.refused(lambda: wire.gate.call(wire.PSYCH, request)) for _ in range(3)]
    assert Counter(a.word for a in answers) == {"FAILED_PRECONDITION/NO_CONSENT": 3}
    wire.consent(local)
    assert wire.gate.call(wire.PSYCH, request).referral.name  # nothing was kept under the key of a refusal
