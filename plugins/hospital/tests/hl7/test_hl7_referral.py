"""What a referral looks like in HL7 v2: byte for byte, and as two other libraries read it."""

from pathlib import Path

import hl7
import hl7apy.parser
import pytest
from hl7apy.consts import VALIDATION_LEVEL

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage
from xinqiao.api.screening.v1.screening_pb2 import Assessment
from xinqiao_hospital.hl7.message import parse
from xinqiao_hospital.hl7.referral import control_id, referral_message
from xinqiao_hospital.hl7.settings import Hl7Settings
from xinqiao_hospital.hl7.structure import check_structure

UTF_8 = Hl7Settings(host="127.0.0.1", port=2575, partner_application="HIS", partner_facility="HOSPITAL")
GB_18030 = UTF_8.model_copy(update={"charset": "GB18030"})


@pytest.fixture
def chinese(package: ReferralPackage) -> ReferralPackage:
    """Names and texts whose GB 18030 bytes hold ``|`` ``\\`` ``^`` ``~``, and text that holds them itself."""
    package.student.family_name, package.student.given_name = "東方", "瑋誠"
    package.student.guardians[0].full_name = "館璣"
    package.referral.reason = "量表提示重度抑郁，有自伤想法；原话：“a|b^c~d&e\\f”\n第二行"
    package.sender_title = "實驗中學瓇校区"
    return package


@pytest.mark.parametrize(
    ("settings", "file"), [(UTF_8, "golden_utf_8.hl7"), (GB_18030, "golden_gb_18030.hl7")], ids=["UTF-8", "GB 18030"]
)
def test_it_is_byte_for_byte_what_was_agreed(chinese: ReferralPackage, settings: Hl7Settings, file: str) -> None:
    golden = Path(__file__).with_name(file)
    assert referral_message(chinese, "delivery-0001", settings) == golden.read_bytes()


@pytest.mark.parametrize("settings", [UTF_8, GB_18030], ids=["UTF-8", "GB 18030"])
def test_it_reads_back_as_it_was(chinese: ReferralPackage, settings: Hl7Settings) -> None:
    message = parse(referral_message(chinese, "delivery-0001", settings), "utf-8")
    pid = message.one("PID")
    assert (pid.component(5, 1), pid.component(5, 2)) == ("東方", "瑋誠")
    assert message.all("PRD")[0].component(2) == "實驗中學瓇校区"
    assert chinese.referral.reason in message.all("NTE")[0].text(3)


def test_gb_18030_bytes_hold_every_delimiter_inside_of_characters(chinese: ReferralPackage) -> None:
    raw = referral_message(chinese, "delivery-0001", GB_18030)
    for character in "瑋誠璣瓇":
        trail = character.encode("gb18030")[1:]
        assert trail in b"|\\^~" and character.encode("gb18030") in raw


@pytest.mark.parametrize("settings", [UTF_8, GB_18030], ids=["UTF-8", "GB 18030"])
def test_the_library_hl7_reads_the_same(chinese: ReferralPackage, settings: Hl7Settings) -> None:
    text = referral_message(chinese, "delivery-0001", settings).decode(settings.encoding)
    message = hl7.parse(text)
    assert str(message.segment("PID")[5][0][0]) == "東方"
    assert message.unescape(str(message.segments("NTE")[0][3])).startswith("转介原因 Reason: 量表提示重度抑郁")
    assert [str(obx[3][0][0]) for obx in message.segments("OBX")][-1] == "70274-6"


def test_hl7apy_finds_the_structure_of_ref_i12_in_it(chinese: ReferralPackage) -> None:
    text = referral_message(chinese, "delivery-0001", UTF_8).decode()
    message = hl7apy.parser.parse_message(text, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    assert message.validate() and len(message.REF_I12_PROVIDER_CONTACT) == 2
    assert len(message.REF_I12_OBSERVATION) == 3 and message.RF1.RF1_6.RF1_6_1.to_er7() == "r1"


def test_what_breaks_the_structure_does_not_leave(chinese: ReferralPackage) -> None:
    text = referral_message(chinese, "delivery-0001", UTF_8).decode()
    with pytest.raises(RecordRejected, match="DATA/STRUCTURE"):
        check_structure(
            text.replace("^XINQIAO|20261005170000+0800", "^XINQIAO|20261005170000+0800", 1).replace(
                "|r1^XINQIAO|2", "||2"
            )
        )


def test_a_retry_has_the_same_bytes_and_another_request_another_control_id(package: ReferralPackage) -> None:
    first, again = (referral_message(package, "delivery-0001", UTF_8) for _ in range(2))
    assert first == again and control_id("delivery-0001") != control_id("delivery-0002")
    assert len(control_id("d" * 64)) == 20


def test_what_the_door_withheld_is_absent() -> None:
    bare = ReferralPackage(
        referral=Referral(name="referrals/r1", create_time_us=1), student=Student(name="students/" + "a" * 26)
    )
    message = parse(referral_message(bare, "delivery-0001", UTF_8), "utf-8")
    assert [segment.name for segment in message.segments] == ["MSH", "RF1", "PRD", "PRD", "PID"]
    assert message.one("PID").raw(5) == "^^^^^^U"
    check_structure(referral_message(bare, "delivery-0001", UTF_8).decode())


def test_a_guardian_in_conflict_is_never_named(package: ReferralPackage) -> None:
    text = referral_message(package, "delivery-0001", UTF_8).decode()
    assert "欧阳刚" not in text and "13800000003" not in text
    assert "不得通知该监护人" in text


def test_ids_that_the_state_gave_and_notes_never_travel(package: ReferralPackage) -> None:
    text = referral_message(package, "delivery-0001", UTF_8).decode()
    assert not [value for value in ("11010519491231002X", "2026-0417", "私密咨询记录") if value in text]


def test_an_unanswered_item_is_absent_and_a_missing_total_says_so(package: ReferralPackage) -> None:
    message = parse(referral_message(package, "delivery-0001", UTF_8), "utf-8")
    found = {obx.component(3): obx for obx in message.all("OBX")}
    assert "69733-4" not in found and (found["70274-6"].raw(5), found["70274-6"].raw(11)) == ("", "X")


def test_a_form_without_loinc_has_our_own_codes(package: ReferralPackage) -> None:
    form = Assessment(instrument="SDQ", answers=bytes([0, 2, 255]))
    del package.assessments[:]
    package.assessments.append(form)
    lines = referral_message(package, "delivery-0001", UTF_8).decode().split("\r")
    assert "OBX|2|NM|SDQ/2^SDQ item 2^99XINQIAO||2||||||F" in lines


def test_answers_that_do_not_fit_the_form_are_refused(package: ReferralPackage) -> None:
    package.assessments[0].answers = bytes([0] * 8)
    with pytest.raises(RecordRejected) as refused:
        referral_message(package, "delivery-0001", UTF_8)
    assert refused.value.place == "ReferralPackage.assessments[0].answers"


def test_a_drill_is_marked_wherever_a_person_may_look(hospital, agency_for, request_: DeliverRequest) -> None:
    request_.referral.drill = True
    agency_for(hospital.start()).deliver(request_, 5)
    (message,) = hospital.messages()
    assert "演练 DRILL" in message.one("PID").component(5) and "演练 DRILL" in message.all("NTE")[0].text(3)
    assert message.all("OBX")[0].component(3) == "drill" and message.ignored["ZXQ"] == 1
