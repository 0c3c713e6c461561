"""A gateway to be traced: ``python traced_gateway.py <folder> <settings of the hospital, JSON> [fault]``.

It refers three students to the hospital, waits until all is delivered, and prints one line a referral: the referral's
name and its delivery's. A fault is what no gateway may do: ``early`` sends what is not committed, ``rogue`` lets the
plugin speak to somebody of its own.
"""

import hashlib
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.referral.v1 import referral_service_pb2 as referral
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.contract.clock import SystemClock
from xinqiao.disclosure.door import Door
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.testing.gateway import TemporaryGateway, make_deployment

ROOT = Path(__file__).resolve().parents[2]
SCHOOL, PSYCH, HOSPITAL = "kunshan-no1-middle", "psych-chen", "kunshan-mental-health"
_FORM = hashlib.sha256((ROOT / "config" / "documents" / "consent.yaml").read_bytes()).digest()
_YEAR_US = 300 * 86_400_000_000


def main() -> None:
    folder, settings, fault = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]

    def change(config: dict[str, Any]) -> None:
        config["adapters"] = {HOSPITAL: {"adapter": "hospital", "settings": settings}}
        config["delivery"]["poll_ms"] = 20

    host = AdapterHost.load(["hospital"])
    _break(fault, host, str(settings["base_url"]))
    with TemporaryGateway(
        make_deployment(folder, ROOT / "config/gateway.example.yaml", change=change), host=host
    ) as gate:
        for number in range(3):
            refer(gate, number)
            told(gate, number + 1)


def refer(gate: TemporaryGateway, number: int) -> None:
    def ask(partner: str, request: Any, **fields: Any) -> Any:
        return gate.call_inside(partner, request(request_id=f"traced-{request.DESCRIPTOR.name}-{number}", **fields))

    student = {"local_id": f"traced-{number}"}
    born = {"school": "3205830001", "birth_date": "2011-05-04", "family_name": "欧阳", "sex": 1}
    ask(SCHOOL, case.RegisterStudentsRequest, students=[student | born])
    consent = {
        "recipient": HOSPITAL, "purpose": 2, "signer": 3, "state": 1, "classes": [2, 3, 4, 5, 6, 7, 8, 14],
        "not_after_us": SystemClock().now_us() + _YEAR_US, "form_version": "consent-2026-11", "evidence_sha256": bytes(32),
        "evidence": {
            "form_sha256": _FORM, "text_sha256": bytes(32), "channel": 1, "witness": "w", "guardian_name": "欧阳敏",
            "guardian_relation": "mother",
        },
    }  # fmt: skip
    ask(PSYCH, case.RecordConsentRequest, student=student, consent=consent)
    triage: str = ask(PSYCH, screening.ReportSignalRequest, student=student, source=2, kind=1, facts="seen").triage.name
    ask(PSYCH, screening.ConfirmTierRequest, name=triage, tier=4)
    words = {"recipient": HOSPITAL, "triage": triage, "urgency": 2, "reason": "low"}
    ask(PSYCH, referral.CreateReferralRequest, student=student, **words)


def told(gate: TemporaryGateway, count: int) -> None:
    """Once so many are delivered, name the newest."""
    deadline = time.monotonic() + 60
    d = tables.deliveries
    while time.monotonic() < deadline:
        with gate.gateway.store.read() as reading:
            rows = reading.all(d.select().where(d.c.state == int(DeliveryState.DELIVERED)).order_by(d.c.id.desc()))
        if len(rows) == count:
            print(rows[0]["item"], f"deliveries/{rows[0]['id']}", flush=True)
            return
        time.sleep(0.02)
    raise SystemExit("not delivered in time")


def _break(fault: str, host: AdapterHost, base_url: str) -> None:
    where = ("127.0.0.1", int(urlsplit(base_url).port or 0))
    if fault == "early":
        release = Door.release

        def early(self: Door, tx: Any, message: Any, **words: Any) -> Any:
            released = release(self, tx, message, **words)
            with socket.create_connection(where) as there:
                there.sendall(b"POST /early HTTP/1.1\r\n\r\n" + words["item"].encode())
            return released

        Door.release = early  # type: ignore[method-assign]
    if fault == "rogue":
        from xinqiao_hospital.adapter import HospitalAdapter

        deliver = HospitalAdapter.deliver

        def rogue(self: Any, request: Any, timeout_s: float) -> Any:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
                there.sendto(request.SerializeToString(), ("127.0.0.1", 9))
            return deliver(self, request, timeout_s)

        HospitalAdapter.deliver = rogue  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
