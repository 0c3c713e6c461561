"""No message crashes or hangs the parser; each refusal has a reason and a place and repeats nothing it was sent."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage
from xinqiao.contract.clock import SystemClock
from xinqiao_hospital.hl7.message import parse, unescape
from xinqiao_hospital.hl7.mllp import FrameReader, Limits
from xinqiao_hospital.hl7.receiver import Receiver
from xinqiao_hospital.hl7.referral import referral_message
from xinqiao_hospital.hl7.refused import Hl7Refused
from xinqiao_hospital.hl7.settings import Hl7Settings
from xinqiao_hospital.hl7.structure import check_structure

CANARY = "KANARIE7"
_REASON = re.compile(r"[A-Z_]{4,20}")
_PLACE = re.compile(r"(MSH|MLLP|[A-Z][A-Z0-9]{2}(\[\d+\])?(-\d+(\.\d+)?)?|(line|byte|segment) \d+)")

SOUND = (
    "MSH|^~\\&|HIS|HOSPITAL|XINQIAO|XINQIAO|20261006090000+0800||RRI^I12^RRI_I12|M1|P|2.5.1||||||{charset}\r"
    "RF1|A^Accepted^HL70283^scheduled^已预约^99XINQIAO|R^Routine^HL70280||||r1^XINQIAO|202610091030+0800\r"
    f"PID|1||{'a' * 26}^^^XINQIAO^PI~9^^^HOSPITAL||欧阳^^^^^^L\r"
    "NTE|1||床位\\.br\\已满\\X41\\\r"
)
RESULT = (
    "MSH|^~\\&|HIS|HOSPITAL|XINQIAO|XINQIAO|20261020100000||ORU^R01^ORU_R01|R1|P|2.5.1||||||{charset}\r"
    f"PID|1||{'a' * 26}^^^XINQIAO^PI\r"
    "OBR|1|r1^XINQIAO|L7^H|outcome^^99XINQIAO\r"
    "OBX|1|TX|diagnosis^诊断^99XINQIAO||中度\\T\\||||||F\r"
    "OBX|2|DT|next-visit^^99XINQIAO||20261103||||||F\rOBX|3|NM|1^^LN||72||||||F\r"
)
PIECES = ["|", "^", "~", "\\", "&", "\r", "\n", "\x0b", "\x1c", "MSH|^~\\&|", "\\X", "\\.br\\", "^" * 300, "~" * 300,
          "|" * 300, "\x00", "\ufeff", "瑋", CANARY, "99999999", "20260230", "OBX|1|NM|a^^LN||x", "ZZZ|1\r"]  # fmt: skip
CHARSETS = ["", "UNICODE UTF-8", "GB 18030-2000", "ASCII", "BIG-5", CANARY]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sound message with a few things wrong with it, in some character set, perhaps not the declared one."""
    text = draw(st.sampled_from([SOUND, RESULT])).format(charset=draw(st.sampled_from(CHARSETS)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 5))
        text = text[:at] + draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=8))) + text[at + cut :]
    data = text.encode(draw(st.sampled_from(["utf-8", "gb18030", "utf-16"])), "replace")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + draw(st.integers(0, 4)) :]
    return data


def judge(receiver: Receiver, raw: bytes) -> None:
    started = time.thread_time()
    try:
        message = receiver.checked(raw)
        receiver.told(message)
    except Hl7Refused as e:
        assert _REASON.fullmatch(e.reason) and _PLACE.fullmatch(e.place), (e.reason, e.place)
        assert CANARY not in str(e)
    answer = receiver.answer(raw)
    assert b"\rMSA|A" in answer and answer.count(b"\rMSA|") == 1
    assert time.thread_time() - started < 2


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Receiver:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    context = AgencyContext("h", {}, "test", HttpTransport([]), folder)
    made = Receiver(Hl7Settings(host="127.0.0.1", port=9), context, SystemClock())
    made.spool._sync = lambda descriptor: None  # thousands of messages a second, none of which must survive
    return made


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@settings(max_examples=400, deadline=None, suppress_health_check=_QUIET)
@given(raw=mutated())
def test_no_message_crashes_it(receiver: Receiver, raw: bytes) -> None:
    judge(receiver, raw)


@settings(max_examples=150, deadline=None, suppress_health_check=_QUIET)
@given(raw=st.binary(max_size=300))
def test_no_bytes_crash_it(receiver: Receiver, raw: bytes) -> None:
    judge(receiver, raw)


@pytest.mark.soak
@settings(max_examples=100_000, deadline=None, suppress_health_check=_QUIET)
@given(raw=mutated())
def test_no_message_crashes_it_for_long(receiver: Receiver, raw: bytes) -> None:
    judge(receiver, raw)


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("\\XF.brE0415欧Zn+"), max_size=40))
def test_no_escape_crashes_it(text: str) -> None:
    try:
        unescape(text, "gb18030", "NTE[1]-3")
    except Hl7Refused as e:
        assert (e.code, e.reason, e.place) == ("AE", "ESCAPE", "NTE[1]-3")


class Pieces:
    """A socket that gives its bytes in pieces of the sizes it was told."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = data, sizes

    def settimeout(self, seconds: float) -> None:
        pass

    def recv(self, most: int) -> bytes:
        size = min(self._sizes.pop() if self._sizes else most, most)
        piece, self._data = self._data[:size], self._data[size:]
        return piece


@settings(max_examples=200, deadline=None)
@given(
    bodies=st.lists(st.binary(min_size=1, max_size=50).filter(lambda b: not set(b) & {0x0B, 0x1C}), max_size=5),
    sizes=st.lists(st.integers(1, 9), max_size=200),
)
def test_frames_are_cut_the_same_however_they_arrive(bodies: list[bytes], sizes: list[int]) -> None:
    stream = b"\r\n".join(b"\x0b" + body + b"\x1c\r" for body in bodies)
    reader = FrameReader(Pieces(stream, sizes), Limits(idle_seconds=1))  # type: ignore[arg-type]
    assert [reader.read() for _ in bodies] == bodies


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_time_grows_with_size_only(size: int) -> None:
    header = "MSH|^~\\&|A|B|C|D|20261006||RRI^I12|M1|P|2.5.1\r"
    for filling in ("\\" * size, "NTE|1||" + "\\E\\" * (size // 3), "NTE|1||" + "^~" * (size // 2), "\r" * size):
        started = time.thread_time()
        try:
            for segment in parse((header + filling).encode(), "utf-8").all("NTE"):
                segment.text(3)
        except Hl7Refused:
            pass
        assert time.thread_time() - started < 2


# Blanks around a field are padding to the reader, as they are to most senders.
_WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=60).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(name=_WORDS, reason=_WORDS, long=st.integers(1, 40), charset=st.sampled_from(["UTF-8", "GB18030"]))
def test_whatever_is_written_in_a_referral_it_has_the_standards_structure_and_reads_back(
    name: str, reason: str, long: int, charset: str
) -> None:
    chosen = Hl7Settings.model_validate({"host": "127.0.0.1", "port": 9, "charset": charset})
    referral = Referral(name="referrals/r1", create_time_us=1, reason=reason * long, crisis_facts=reason * long)
    student = Student(name="students/" + "a" * 26, family_name=name, given_name=name)
    raw = referral_message(ReferralPackage(referral=referral, student=student), "delivery-0001", chosen)
    check_structure(raw.decode(chosen.encoding))
    message = parse(raw, "utf-8")
    assert message.one("PID").repetitions(5)[0][:2] == [name, name]
    assert message.all("NTE")[0].repetitions(3) == [[f"转介原因 Reason: {reason * long}"]]
