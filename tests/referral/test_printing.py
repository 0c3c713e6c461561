"""Forms asked of the gateway: what is on the paper is what the policy lets its reader and its printer see."""

import logging

import pypdfium2
import pytest

from xinqiao.api.casefile.v1.casefile_service_pb2 import GetCaseRequest, WithdrawConsentRequest
from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.api.referral.v1 import notice_service_pb2 as rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc

OUTCOME = {
    "diagnosis": "DIAGNOSIS-MARK", "treatment": "TREATMENT-MARK", "fitness": ref.FITNESS_ATTEND_WITH_ADJUSTMENTS,
    "school_advice": "安排半天课程", "next_visit": "2026-10-26", "care_advice": "CARE-MARK",
}  # fmt: skip
NOTICE, REFERRAL, FEEDBACK, CONSENT = (
    pb.DOCUMENT_KIND_NOTICE, pb.DOCUMENT_KIND_REFERRAL, pb.DOCUMENT_KIND_FEEDBACK, pb.DOCUMENT_KIND_CONSENT,
)  # fmt: skip


@pytest.fixture(scope="module")
def town(make_town):
    """On one kind of database: what is drawn does not depend on it."""
    with make_town(listen=False) as made:
        yield made


def child(town, **words):
    guardians = [
        {"full_name": "欧阳强", "phone": "13900000002", "in_conflict": True},
        {"full_name": "欧阳敏", "phone": "13900000001"},
    ]
    return town.student(guardians=guardians, grade="八年级", class_title="3班", phone="13700000003", **words)


def render(town, kind, subject, **words):
    return town.call(town.PSYCH, rpc.RenderDocumentRequest(kind=kind, subject=subject, **words))


def text(form):
    return "".join("".join(page.get_textpage().get_text_range().split()) for page in pypdfium2.PdfDocument(form.pdf))


def notice(town, local):
    request = rpc.IssueNoticeRequest(
        student={"local_id": local},
        triage=town.confirmed(local),
        observed_behaviour="上课时伏案哭泣",
        advice="请尽快就诊",
    )
    return town.call(town.PSYCH, request).notice


def test_a_notice_on_paper_tells_what_was_seen_to_one_guardian_and_nothing_of_the_other(town):
    made = notice(town, child(town, national_id="32058320110504001X"))
    form = render(town, NOTICE, made.name)
    printed = text(form)
    for word in (
        "欧阳𠮷明",
        "欧阳敏",
        "上课时伏案哭泣",
        "请尽快就诊",
        made.number,
        "昆山示范精神卫生中心",
        "昆山市第一示范中学",
    ):
        assert word in printed
    for word in ("欧阳强", "1390000", "1370000", "320583"):
        assert word not in printed
    assert form.form_version == "notice-2026-11"
    assert not form.missing_glyphs


def test_an_english_form_names_the_agencies_in_english(town):
    printed = text(render(town, NOTICE, notice(town, child(town)).name, language=pb.DOCUMENT_LANGUAGE_EN))
    assert "KunshanModelMentalHealthCentre" in printed
    assert "KunshanNo.1ModelMiddleSchool" in printed


def test_a_notice_on_paper_never_holds_what_the_hospital_found(town):
    local = child(town)
    town.consent(local, purpose=5, recipient=town.SCHOOL, classes=[2, 5, 9, 10])
    town.consent(local)
    name = town.refer(local).referral.name
    town.advance(town.HOSPITAL, name, ref.REFERRAL_EVENT_ACCEPT)
    town.call(town.HOSPITAL, ref_rpc.ReportOutcomeRequest(name=name, outcome=OUTCOME))
    assert "MARK" not in text(render(town, NOTICE, notice(town, local).name))


def test_printing_is_on_record_with_the_classes_on_the_paper(town):
    local = child(town)
    made = notice(town, local)
    render(town, NOTICE, made.name)
    row = town.journal(kind="read", resource="RenderDocument", student=town.inside_id(local))[-1]
    assert row["partner"] == town.SCHOOL
    assert all(row["classes"] >> wanted & 1 for wanted in (2, 3, 4, 5, 8, 13))
    assert not any(row["classes"] >> never & 1 for never in (7, 9, 10, 11, 12, 15))


def test_a_revoked_notice_is_not_printed_again(town):
    made = notice(town, child(town))
    town.call(town.PSYCH, rpc.RevokeNoticeRequest(name=made.name, reason="r"))
    asked = rpc.RenderDocumentRequest(kind=NOTICE, subject=made.name)
    assert town.refusal(town.PSYCH, asked) == "FAILED_PRECONDITION/STATE"


def test_a_referral_slip_holds_what_the_consent_names_and_marks_what_it_does_not(town):
    local = child(town)
    town.consent(local, classes=[2, 3, 5, 6, 7])  # neither contact, reason nor crisis facts are needed for the slip
    whole = town.refer(local, reason="REASON-MARK").referral
    form = render(town, REFERRAL, whole.name)
    assert "REASON-MARK" not in text(form)
    assert "依规定不予显示" in text(form)
    assert "student.phone" in [item.field for item in form.withheld]
    town.consent(local)
    assert "REASON-MARK" in text(render(town, REFERRAL, whole.name))


def test_under_a_legal_basis_the_slip_holds_the_facts_and_not_the_scores_or_the_school(town):
    local = child(town)
    made = town.refer(
        local, urgency=ref.URGENCY_EMERGENCY, crisis_facts="FACTS-MARK", reason="REASON-MARK", basis="life-safety"
    ).referral
    printed = text(render(town, REFERRAL, made.name))
    assert "FACTS-MARK" in printed
    assert "个人信息保护法第十三条" in printed
    assert "REASON-MARK" not in printed
    assert "八年级" not in printed


def test_no_slip_once_the_consent_is_withdrawn(town):
    local = child(town)
    consent = town.consent(local)
    made = town.refer(local).referral
    town.call(town.PSYCH, WithdrawConsentRequest(name=consent.name))
    asked = rpc.RenderDocumentRequest(kind=REFERRAL, subject=made.name)
    assert town.refusal(town.PSYCH, asked) == "FAILED_PRECONDITION/WITHDRAWN"


def test_a_feedback_slip_says_what_class_needs_and_the_diagnosis_only_by_consent(town):
    local = child(town)
    town.consent(local)
    name = town.refer(local).referral.name
    asked = rpc.RenderDocumentRequest(kind=FEEDBACK, subject=name)
    assert town.refusal(town.PSYCH, asked) == "FAILED_PRECONDITION/STATE"
    town.advance(town.HOSPITAL, name, ref.REFERRAL_EVENT_ACCEPT)
    town.call(town.HOSPITAL, ref_rpc.ReportOutcomeRequest(name=name, outcome=OUTCOME))
    printed = text(render(town, FEEDBACK, name))
    assert "安排半天课程" in printed
    assert "可到校，需作调整" in printed
    assert "MARK" not in printed
    assert "依规定不予显示" in printed
    town.consent(local, purpose=5, recipient=town.SCHOOL, classes=[2, 5, 9])
    assert "DIAGNOSIS-MARK" in text(render(town, FEEDBACK, name))
    assert "TREATMENT-MARK" not in text(render(town, FEEDBACK, name))


def test_a_consent_form_names_what_is_asked_and_its_hash_is_the_same_until_something_changes(town):
    local = child(town)
    name = town.call(town.PSYCH, GetCaseRequest(student={"local_id": local})).case.student.name
    asked = {"recipient": town.HOSPITAL, "purpose": 2, "classes": [2, 3, 9], "last_day": "2027-10-11"}
    one, two = (render(town, CONSENT, name, consent=asked) for _ in range(2))
    for word in ("欧阳𠮷明", "昆山示范精神卫生中心", "医学评估与治疗", "身份信息、诊断", "2027年10月11日"):
        assert word in text(one)
    assert one.form_version == "consent-2026-11"
    assert len(one.text_sha256) == 32
    assert one.text_sha256 == two.text_sha256
    assert one.text_sha256 != render(town, CONSENT, name, consent={**asked, "classes": [2, 3]}).text_sha256
    notes = rpc.RenderDocumentRequest(kind=CONSENT, subject=name, consent={**asked, "classes": [2, 15]})
    assert town.refusal(town.PSYCH, notes) == "INVALID_ARGUMENT/CLASS_NEVER_SHARED"


@pytest.mark.parametrize(
    ("kind", "subject"), [(NOTICE, "referrals/x"), (REFERRAL, "notices/x"), (CONSENT, "notices/x")]
)
def test_a_form_has_a_subject_of_its_own_kind(town, kind, subject):
    asked = rpc.RenderDocumentRequest(kind=kind, subject=subject)
    assert town.refusal(town.PSYCH, asked) == "INVALID_ARGUMENT/SUBJECT"


def test_strangers_print_nothing(town):
    local = child(town)
    town.consent(local)
    subjects = [(NOTICE, notice(town, local).name), (REFERRAL, town.refer(local).referral.name)]
    for kind, subject in subjects:
        asked = rpc.RenderDocumentRequest(kind=kind, subject=subject)
        assert town.refusal("psych-li", asked).startswith("NOT_FOUND/")
        assert town.refusal(town.HOSPITAL, asked) == "PERMISSION_DENIED/ROLE"


def test_the_last_net_has_nothing_to_cut_from_a_form(town, caplog):
    made = notice(town, child(town))
    with caplog.at_level(logging.ERROR, "xinqiao.security"):
        render(town, NOTICE, made.name)
    assert not [record for record in caplog.records if "cut fields" in record.getMessage()]


def test_a_gateway_without_templates_or_key_says_how_to_mend_it(make_town):
    def bare(settings):
        settings["documents"] = settings["document_key"] = None

    with make_town(listen=False, change=bare) as town:
        local = child(town)
        request = rpc.IssueNoticeRequest(
            student={"local_id": local}, triage=town.confirmed(local), observed_behaviour="a", advice="b"
        )
        assert town.refusal(town.PSYCH, request) == "FAILED_PRECONDITION/FORMS"
    with make_town(listen=False, change=lambda settings: settings.update(document_key=None)) as town:
        local = child(town)
        request = rpc.IssueNoticeRequest(
            student={"local_id": local}, triage=town.confirmed(local), observed_behaviour="a", advice="b"
        )
        assert town.refusal(town.PSYCH, request) == "FAILED_PRECONDITION/DOCUMENT_KEY"
