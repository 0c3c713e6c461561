"""kill -9 under load: what was acknowledged is there, what was not is taken once, and the hospital sees one effect."""

import hashlib
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1.consent_pb2 import ConsentEvidence
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.api.referral.v1 import referral_service_pb2 as referral
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.contract.clock import SystemClock
from xinqiao.contract.methods import methods
from xinqiao.journal.checkpoint import Checkpointer
from xinqiao.journal.signing import load_signing_key, public_key_pem
from xinqiao.journal.verify import verify_database
from xinqiao.store import tables
from xinqiao.store.engine import open_store
from xinqiao.testing.gateway import TemporaryGateway, make_deployment

hospital = pytest.importorskip("xinqiao_hospital.simulator", reason="needs the hospital plugin")

ROOT = Path(__file__).resolve().parents[2]
SCHOOL, PSYCH, HOSPITAL = "kunshan-no1-middle", "psych-chen", "kunshan-mental-health"
PATHS = {method.request: path for path, method in methods().items()}
LOCAL = "crash-1"
CONSENT_FORM = hashlib.sha256((ROOT / "config" / "documents" / "consent.yaml").read_bytes()).digest()


class Victim:
    """A gateway process that can be killed and started again on the same files."""

    def __init__(self, config):
        self.config = config
        self.keys = TemporaryGateway(config)  # for its certificates only
        self.process = None
        self.port = 0

    def start(self):
        marker = self.config.with_name("port")
        marker.unlink(missing_ok=True)
        script = Path(__file__).with_name("crash_gateway.py")
        self.process = subprocess.Popen([sys.executable, str(script), str(self.config)])
        for _ in range(600):
            if marker.exists():
                self.port = int(marker.read_text())
                return
            assert self.process.poll() is None, "the gateway did not come up again"
            time.sleep(0.05)
        raise AssertionError("the gateway did not come up in 30 s")

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def channel(self, partner):
        credentials = self.keys.credentials(partner)
        return grpc.secure_channel(
            f"127.0.0.1:{self.port}", credentials, [("grpc.ssl_target_name_override", "localhost")]
        )


def send(channel, request):
    call = channel.unary_unary(PATHS[type(request)])
    return call(request.SerializeToString(deterministic=True), timeout=5)


def submission(number):
    request = scr.SubmitAssessmentRequest(
        request_id=f"crash-{number:06d}", instrument="PHQ-9", taken_on="2026-10-01", answers=bytes(9)
    )
    request.student.local_id = LOCAL
    return request


def prepare(victim):
    with victim.channel(SCHOOL) as school, victim.channel(PSYCH) as psych:
        register = case.RegisterStudentsRequest(request_id="crash-register")
        register.students.add(local_id=LOCAL, school="3205830001", birth_date="2011-05-04", family_name="欧阳", sex=1)
        send(school, register)
        consent = case.RecordConsentRequest(request_id="crash-consent", student={"local_id": LOCAL})
        given = consent.consent
        given.recipient, given.purpose, given.signer, given.state = HOSPITAL, 2, 3, 1
        given.classes.extend([2, 3, 4, 5, 6, 7, 8, 14])
        given.not_after_us = SystemClock().now_us() + 30 * 86_400_000_000
        given.form_version, given.evidence_sha256 = "consent-2026-11", bytes(32)
        proof = {"form_sha256": CONSENT_FORM, "text_sha256": bytes(32), "channel": 1, "witness": "w"}
        given.evidence.CopyFrom(ConsentEvidence(**proof, guardian_name="欧阳敏", guardian_relation="mother"))
        send(psych, consent)


def referrals(victim, cycle):
    """The requests that refer once more; each may have been answered before the crash or not."""
    with victim.channel(PSYCH) as psych:
        report = scr.ReportSignalRequest(request_id=f"signal-{cycle:04d}", source=2, kind=1, facts="seen")
        report.student.local_id = LOCAL
        triage = scr.ReportSignalResponse.FromString(send(psych, report)).triage.name
        send(psych, scr.ConfirmTierRequest(request_id=f"confirm-{cycle:04d}", name=triage, tier=4))
        refer = referral.CreateReferralRequest(
            request_id=f"refer-{cycle:05d}", recipient=HOSPITAL, triage=triage, urgency=2, reason="low"
        )
        refer.student.local_id = LOCAL
        return referral.CreateReferralResponse.FromString(send(psych, refer)).referral.name


def load(victim, numbers, acknowledged, stop):
    """Submit one after another until the gateway dies."""
    with victim.channel(SCHOOL) as channel:
        for number in numbers:
            if stop.is_set():
                return
            try:
                acknowledged[number] = send(channel, submission(number))
            except grpc.RpcError:
                return


def play(tmp_path, cycles, seed):
    simulator = hospital.HospitalSimulator(tmp_path / "hospital")
    settings = simulator.start()

    def change(raw):
        raw["adapters"] = {HOSPITAL: {"adapter": "hospital", "settings": settings}}
        raw["delivery"] |= {"poll_ms": 20, "lease_s": 5, "backoff_s": [0], "max_attempts": 100}
        raw["journal"]["checkpoint_seconds"] = 1

    config = make_deployment(tmp_path / "x", ROOT / "config" / "gateway.example.yaml", change=change)
    victim = Victim(config)
    chance = random.Random(seed)
    acknowledged: dict[int, bytes] = {}
    names: dict[int, str] = {}
    try:
        victim.start()
        prepare(victim)
        for cycle in range(cycles):
            first = cycle * 100_000
            stop = threading.Event()
            clients = [
                threading.Thread(target=load, args=(victim, range(first + lane, first + 90_000, 4), acknowledged, stop))
                for lane in range(4)
            ]
            for client in clients:
                client.start()
            refer = threading.Thread(target=lambda at=cycle: names.setdefault(at, quiet(victim, at)))
            refer.start()
            time.sleep(chance.uniform(0.02, 0.5))
            victim.kill()
            stop.set()
            for client in (*clients, refer):
                client.join(20)
            victim.start()
            names[cycle] = referrals(victim, cycle)  # a retry under the same keys, or the first try that got through
            mine = [n for n in acknowledged if n >= first]
            with victim.channel(SCHOOL) as channel:
                for number in (*mine[-3:], max(mine, default=first) + 1, max(mine, default=first) + 2):
                    answer = send(channel, submission(number))
                    assert acknowledged.setdefault(number, answer) == answer
        settle(victim)
    finally:
        if victim.process is not None:
            victim.kill()
        simulator.stop()
    judge(config, acknowledged, names, simulator)


def quiet(victim, cycle):
    try:
        return referrals(victim, cycle)
    except grpc.RpcError:
        return ""


def settle(victim):
    """Wait until nothing waits for delivery any more."""
    with victim.channel("bureau-admin") as operator:
        for _ in range(300):
            status = gateway.GetStatusResponse.FromString(send(operator, gateway.GetStatusRequest()))
            if not status.waiting:
                return
            time.sleep(0.1)
    raise AssertionError(f"still waiting for delivery: {dict(status.waiting)}")


def judge(config, acknowledged, names, simulator):
    folder = config.parent
    url = f"sqlite:///{folder / 'records.db'}"
    store = open_store(url, f"sqlite:///{folder / 'keys.db'}", folder / "keyring", SystemClock())
    try:
        key = load_signing_key(folder / "pki" / "journal.key")
        Checkpointer(store, key, "kunshan").run_once()
        with store.read() as tx:
            stored = {row["id"] for row in tx.all(tables.assessments.select())}
            asked = {row["request_id"] for row in tx.all(tables.requests.select())}
            sent = tx.all(tables.deliveries.select().where(tables.deliveries.c.kind == "referral"))
            held = {row["item"] for row in tx.all(tables.holdings.select())}
            referred = {f"referrals/{row['id']}" for row in tx.all(tables.referrals.select())}
    finally:
        store.close()
    answers = {
        scr.SubmitAssessmentResponse.FromString(answer).assessment.name.removeprefix("assessments/")
        for answer in acknowledged.values()
    }
    assert len(answers) == len(acknowledged), "two requests got the same record"
    assert answers <= stored, "an acknowledged submission is lost"
    submitted = [name for name in asked if name.startswith("crash-") and name[6:].isdigit()]
    assert len(stored) == len(submitted), "a request_id has two records, or none"
    assert referred == set(names.values()), "one referral for each request_id"
    assert referred <= held, "an open referral without a holder"
    assert len(sent) == len(names)
    assert {row["state"] for row in sent} == {3}
    tasks = simulator.records.all("Task")
    assert len(tasks) == len(names), "the hospital saw a second effect"
    public = folder / "journal.pub.pem"
    public.write_bytes(public_key_pem(key))
    report = verify_database(url, [public])
    assert (report.code, report.findings) == (0, ())


def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(tmp_path):
    play(tmp_path, 6, 20261123)


@pytest.mark.soak
def test_a_hundred_kills(tmp_path):
    play(tmp_path, 100, 7)
