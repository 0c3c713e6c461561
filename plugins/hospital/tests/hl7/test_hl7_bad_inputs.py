"""The HL7 rows of the list of bad inputs, each over a real socket: what the hospital is told, and what is kept."""

import resource
import socket
import time
from types import ModuleType

import pytest


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ("PID|1||x\r", "MSH"),
        ("", "MSH"),
        ("MSH#^~\\&#HIS#HOSPITAL\r", "MSH-1"),
        ("MSH|^~&\\|HIS|HOSPITAL|||||RRI^I12|M1|P|2.5.1\r", "MSH-2"),
        ("MSH|^^\\&|HIS|HOSPITAL|||||RRI^I12|M1|P|2.5.1\r", "MSH-2"),
        ("MSH|^~\\&|HIS|HOSPITAL|||||RRI^I12|M1|P|2.5.1\rpid|1\r", "line 2"),
        ("MSH|^~\\&|HIS|HOSPITAL|||||RRI^I12|M1|P|2.5.1\rPID^1\r", "line 2"),
    ],
)
def test_without_a_header_or_with_odd_delimiters_it_is_rejected(tell, message: str, place: str) -> None:
    assert tell(message) == ("AR", "DELIMITER", place)


def test_a_frame_that_never_ends_is_rejected_and_cut(hl: ModuleType, agency_for) -> None:
    wire = hl.Wire(agency_for(frame_seconds=0.3).port)
    wire.send(b"\x0bMSH|^~\\&|HIS")
    assert hl.said(wire.answer())[:2] == ("AR", "FRAME") and wire.closed()
    wire.close()


def test_a_peer_that_sends_one_byte_at_a_time_is_cut(hl: ModuleType, agency_for) -> None:
    wire = hl.Wire(agency_for(frame_seconds=0.5).port)
    started = time.monotonic()
    with pytest.raises(OSError):
        for byte in b"\x0b" + b"M" * 200:
            wire.send(bytes([byte]))
            time.sleep(0.05)
    assert time.monotonic() - started < 5
    wire.close()


def test_a_silent_peer_is_cut(hl: ModuleType, agency_for) -> None:
    wire = hl.Wire(agency_for(idle_seconds=0.3).port)
    assert wire.closed()
    wire.close()


def test_two_messages_in_one_frame_are_rejected(hl: ModuleType, tell) -> None:
    assert tell(hl.rri() + hl.rri(control="M2")) == ("AR", "FRAME", "line 5")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x0bMSH|^~\\&|\x1cX", b"\x0bMSH\x0bMSH|\x1c\r"])
def test_what_is_no_frame_is_rejected_and_the_connection_closed(hl: ModuleType, agency_for, data: bytes) -> None:
    wire = hl.Wire(agency_for().port)
    wire.send(data)
    assert hl.said(wire.answer()) == ("AR", "FRAME", "MLLP") and wire.closed()
    wire.close()


def test_a_hundred_megabytes_are_cut_at_the_limit_and_memory_stays_flat(agency_for) -> None:
    port = agency_for(max_bytes=1024 * 1024).port
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    block, sent = b"x" * (64 * 1024), 0
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        peer.sendall(b"\x0bMSH|^~\\&|")
        with pytest.raises(OSError):
            while sent < 100 * 2**20:
                peer.sendall(block)
                sent += len(block)
    assert sent < 16 * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 24 * 1024


def test_a_message_just_over_the_limit_is_told_why(hl: ModuleType, tell) -> None:
    padding = "NTE|1||" + "x" * 2000
    assert tell(hl.rri("A", padding), max_bytes=1024)[:2] == ("AR", "FRAME")


def test_the_same_message_again_gets_the_same_answer_and_is_kept_once(hl: ModuleType, agency_for) -> None:
    adapter = agency_for()
    wire = hl.Wire(adapter.port)
    answers = []
    for _ in range(3):
        wire.send(b"\x0b" + hl.rri().encode() + b"\x1c\r")
        answers.append(wire.answer())
    wire.close()
    assert [hl.said(answer) for answer in answers] == [("AA", "", "")] * 3
    assert len({answer.split(b"|")[9] for answer in answers}) == 1, "the acknowledgment has the same MSH-10"
    assert len(hl.items(adapter)) == 1


def test_it_is_known_again_after_a_restart_and_after_the_gateway_took_it(hl: ModuleType, tell, agency_for) -> None:
    tell(hl.rri())
    first = agency_for()
    (item,) = hl.items(first)
    assert hl.items(first, item.cursor) == []
    assert tell(hl.rri()) == ("AA", "", "") and hl.items(agency_for(), item.cursor) == []


def test_another_message_under_a_known_control_id_is_rejected(hl: ModuleType, tell) -> None:
    assert tell(hl.rri(control="M7"))[0] == "AA"
    assert tell(hl.rri("R^Rejected^HL70283", "NTE|1||无床位", control="M7")) == ("AR", "KEY_REUSED", "MSH-10")


UTF_8_NAMED_GB = "MSH|^~\\&|HIS|HOSPITAL|XINQIAO|XINQIAO|20261006||RRI^I12|M1|P|2.5.1||||||GB 18030-2000"
NAMED_UTF_8 = "MSH|^~\\&|HIS|HOSPITAL|XINQIAO|XINQIAO|20261006||RRI^I12|M1|P|2.5.1||||||UNICODE UTF-8"


def test_utf_8_that_is_declared_gb_18030_is_rejected(hl: ModuleType, tell) -> None:
    message = hl.rri("A", "NTE|1||预约后请带病历", header=UTF_8_NAMED_GB).encode()
    assert tell(message) == ("AR", "ENCODING", "MSH-18")


def test_gb_18030_that_is_declared_utf_8_is_rejected(hl: ModuleType, tell) -> None:
    code, reason, place = tell(hl.rri("A", "NTE|1||预约后请带病历", header=NAMED_UTF_8).encode("gb18030"))
    assert (code, reason) == ("AR", "ENCODING") and place.startswith("byte ")


def test_an_unknown_character_set_is_rejected(hl: ModuleType, tell) -> None:
    header = UTF_8_NAMED_GB.replace("GB 18030-2000", "BIG-5")
    assert tell(hl.rri(header=header)) == ("AR", "ENCODING", "MSH-18")


def test_without_a_declared_character_set_the_agreed_one_is_taken(hl: ModuleType, agency_for, tell) -> None:
    message = hl.rri("R^Rejected^HL70283", "NTE|1||床位已满，请转诊")
    assert tell(message.encode("gb18030"), charset="GB18030") == ("AA", "", "")
    (item,) = hl.items(agency_for(charset="GB18030"))
    assert item.referral.reason == "床位已满，请转诊"


def test_utf_8_where_gb_18030_is_agreed_is_rejected(hl: ModuleType, tell) -> None:
    message = hl.rri("R^Rejected^HL70283", "NTE|1||床位已满，请转诊").encode()
    assert tell(message, charset="GB18030") == ("AR", "ENCODING", "MSH-18")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a\\F\\b\\S\\c\\R\\d\\T\\e\\E\\f", "a|b^c~d&e\\f"),
        ("第一行\\.br\\第二行", "第一行\n第二行"),
        ("\\H\\重要\\N\\", "重要"),
        ("\\XE58CBBE999A2\\", "医院"),
        ("\\X0D0A\\x", "x"),
        ("a\\.sp2\\b\\.in5\\c", "a\nbc"),
    ],
)
def test_escapes_are_read(hl: ModuleType, tell, agency_for, written: str, read: str) -> None:
    assert tell(hl.rri("R^Rejected^HL70283", f"NTE|1||{written}"))[0] == "AA"
    assert hl.items(agency_for())[0].referral.reason == read


@pytest.mark.parametrize(
    "written", ["\\X00\\", "\\XFFFE\\", "\\Zlocal\\", "\\C2842\\", "C:\\temp", "\\.xy\\", "\\X0\\"]
)
def test_escapes_that_cannot_be_read_are_refused_with_segment_and_field(hl: ModuleType, tell, written: str) -> None:
    assert tell(hl.rri("R^Rejected^HL70283", f"NTE|1||{written}")) == ("AE", "ESCAPE", "NTE[1]-3")


def test_a_training_message_in_production_is_rejected(hl: ModuleType, tell) -> None:
    message = hl.rri().replace("|M1|P|", "|M1|T|")
    assert tell(message) == ("AR", "PROCESSING_ID", "MSH-11")


@pytest.mark.parametrize(
    "pid3",
    [
        "",
        "12345^^^HOSPITAL^MR",
        f"{'a' * 26}^^^XINQIAO^PI~{'b' * 26}^^^XINQIAO^PI",
        "12345^^^XINQIAO^PI",
        f"{'a' * 26}^^^OTHER^PI",
    ],
)
def test_without_exactly_one_id_of_this_gateway_it_is_refused(hl: ModuleType, tell, pid3: str) -> None:
    assert tell(hl.rri(pid3=pid3)) == ("AE", "IDENTIFIER", "PID-3")


def test_the_hospitals_own_numbers_may_stand_beside_ours(hl: ModuleType, tell) -> None:
    assert tell(hl.rri(pid3=f"H77^^^HOSPITAL^MR~{hl.STUDENT}^^^XINQIAO&1.2.3&ISO^PI"))[0] == "AA"


def test_an_answer_about_another_student_than_the_one_referred_is_refused(hl: ModuleType, agency_for) -> None:
    adapter = agency_for()
    adapter.receiver.sent.note("referrals/r1", "students/" + "b" * 26)
    wire = hl.Wire(adapter.port)
    wire.send(b"\x0b" + hl.oru(hl.DIAGNOSIS).encode() + b"\x1c\r")
    assert hl.said(wire.answer()) == ("AE", "IDENTIFIER", "PID-3")
    wire.close()


def test_a_number_that_is_text_is_refused(hl: ModuleType, tell) -> None:
    assert tell(hl.oru(hl.DIAGNOSIS, "OBX|2|NM|8867-4^^LN||七十二||||||F")) == ("AE", "TYPE", "OBX[2]-5")


def test_of_a_corrected_result_only_the_correction_counts(hl: ModuleType, tell, agency_for) -> None:
    corrected = "OBX|2|TX|diagnosis^诊断^99XINQIAO||轻度抑郁发作||||||C"
    late = "OBX|3|TX|diagnosis^诊断^99XINQIAO||中度抑郁发作||||||F"
    assert tell(hl.oru(hl.DIAGNOSIS, corrected, late))[0] == "AA"
    assert hl.items(agency_for())[0].referral.outcome.diagnosis == "轻度抑郁发作"


def test_a_final_report_that_comes_after_its_correction_is_not_routed(hl: ModuleType, tell, agency_for) -> None:
    corrected = "OBX|1|TX|diagnosis^诊断^99XINQIAO||轻度抑郁发作||||||C"
    assert tell(hl.oru(corrected, control="R2"))[0] == "AA"
    assert tell(hl.oru(hl.DIAGNOSIS, control="R1"))[0] == "AA"
    first, second = hl.items(agency_for())
    assert first.referral.outcome.diagnosis == "轻度抑郁发作"
    assert second.rejected.reason == "DATA/SUPERSEDED"


def test_a_result_for_no_referral_is_acknowledged_and_not_routed(hl: ModuleType, tell, agency_for) -> None:
    assert tell(hl.oru(hl.DIAGNOSIS, placer=""))[0] == "AA"
    (item,) = hl.items(agency_for())
    assert item.rejected.reason == "DATA/NO_REFERRAL" and not item.HasField("referral")


@pytest.mark.parametrize(("status", "reason"), [("P", "DATA/NOT_FINAL"), ("W", "DATA/RETRACTED")])
def test_what_is_not_final_is_acknowledged_and_not_routed(hl: ModuleType, tell, agency_for, status, reason) -> None:
    assert tell(hl.oru(hl.DIAGNOSIS.removesuffix("F") + status))[0] == "AA"
    assert hl.items(agency_for())[0].rejected.reason == reason


@pytest.mark.parametrize("when", ["20260230", "2026", "garbage", "202613011200", "20261006+9900", "20261006250000"])
def test_a_time_that_cannot_be_is_refused(hl: ModuleType, tell, when: str) -> None:
    assert tell(hl.rri(when=when)) == (("AE", "DATE", "MSH-7") if when != "2026" else ("AA", "", ""))


def test_a_time_without_zone_is_read_as_beijing_time_and_the_answer_says_so(hl: ModuleType, tell) -> None:
    assert tell(hl.rri(when="20261006090000")) == ("AA", "ZONE_ASSUMED", "MSH-7")


def test_a_time_with_another_zone_is_taken_as_written(hl: ModuleType, tell, agency_for) -> None:
    scheduled = "A^Accepted^HL70283^scheduled^^99XINQIAO"
    message = hl.rri(scheduled).replace("r1^XINQIAO", "r1^XINQIAO|202610091030+0900")
    assert tell(message) == ("AA", "", "")
    assert hl.items(agency_for())[0].referral.appointment_us == 1_791_509_400_000_000  # 01:30 UTC


def test_z_segments_and_others_are_read_past(hl: ModuleType, tell) -> None:
    assert tell(hl.rri("A^Accepted^HL70283", "ZXX|任意\\内容", "PV1|1|O"))[0] == "AA"


def test_ten_thousand_repetitions_are_refused(hl: ModuleType, tell) -> None:
    many = "~".join(["1^^^HOSPITAL"] * 10_000)
    assert tell(hl.rri(pid3=many)) == ("AE", "TOO_MANY", "PID-3")


def test_ten_thousand_segments_are_refused(hl: ModuleType, tell) -> None:
    assert tell(hl.rri("A", *["ZZZ|1"] * 10_000)) == ("AE", "TOO_MANY", "segment 2001")


@pytest.mark.parametrize(
    ("status", "place"),
    [
        ("Q^?^HL70283", "RF1-1"),
        ("", "RF1-1"),
        ("R^^HL70283^accepted^^99XINQIAO", "RF1-1.4"),
        ("A^^^closed^^99XINQIAO", "RF1-1"),
    ],
)
def test_a_status_of_no_agreed_table_is_refused(hl: ModuleType, tell, status: str, place: str) -> None:
    code, reason, where = tell(hl.rri(status))
    assert (code, where) == ("AE", place) and reason in ("CODE", "REQUIRED")


def test_a_hospitals_own_codes_are_read_by_its_settings(hl: ModuleType, tell, agency_for) -> None:
    own = {"status_codes": {"03": "waitlisted"}}
    assert tell(hl.rri("03^候诊^L"), **own)[0] == "AA"
    (item,) = hl.items(agency_for(**own))
    assert item.referral.event == 5  # WAITLIST


def test_a_message_of_another_facility_or_for_another_is_rejected(hl: ModuleType, tell) -> None:
    assert tell(hl.rri(), partner_facility="OTHER") == ("AR", "SENDER", "MSH-4")
    assert tell(hl.rri().replace("|XINQIAO|XINQIAO|", "|XINQIAO|ELSEWHERE|"), partner_facility="") == (
        "AR",
        "RECEIVER",
        "MSH-6",
    )


def test_other_kinds_of_messages_are_rejected(hl: ModuleType, tell) -> None:
    assert tell(hl.rri().replace("RRI^I12^RRI_I12", "ADT^A01^ADT_A01")) == ("AR", "MESSAGE_TYPE", "MSH-9")


def test_a_refusal_is_listed_once_a_day_for_its_field_and_nothing_of_the_message_is_kept(
    hl: ModuleType, tell, agency_for, tmp_path
) -> None:
    canary = "欧阳小雨13800000001"
    for number in range(3):
        notes = [f"NTE|{n}||说明" for n in range(number)]
        message = hl.rri("R^Rejected^HL70283", *notes, f"NTE|9||{canary}\\Zx\\", control=f"M{number}")
        assert tell(message)[:2] == ("AE", "ESCAPE")
    (item,) = hl.items(agency_for())
    assert (item.rejected.reason, item.rejected.place) == ("DATA/ESCAPE", "NTE-3")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert canary.encode() not in kept


def test_what_was_sent_is_never_repeated_in_an_answer(hl: ModuleType, agency_for) -> None:
    canary = "CANARY13800000001"
    wire = hl.Wire(agency_for().port)
    sound = hl.rri("R^Rejected^HL70283", f"NTE|1||{canary}")
    for at, part in enumerate(sound.split("|")):
        parts = sound.split("|")
        if at in (0, 1, 9):  # MSH-10 is what an acknowledgment must repeat
            continue
        parts[at] = f"{part}{canary}\\Zx\\"
        wire.send(b"\x0b" + "|".join(parts).encode() + b"\x1c\r")
        answer = wire.answer()
        assert canary.encode() not in answer.split(b"\rMSA")[1], f"field {at}"
    wire.close()


def test_in_enhanced_mode_it_answers_with_commit_codes(hl: ModuleType, tell) -> None:
    assert tell(hl.rri().replace("|P|2.5.1", "|P|2.5.1|||AL|NE"))[0] == "CA"
    assert tell(hl.rri(pid3="").replace("|P|2.5.1", "|P|2.5.1|||AL|NE")) == ("CE", "IDENTIFIER", "PID-3")
