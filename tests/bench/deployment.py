"""A deployment for the measurements: fresh certificates and stores, the example configuration, a roster of students."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import yaml

from xinqiao.api.casefile.v1 import casefile_service_pb2 as casefile
from xinqiao.api.casefile.v1 import casefile_service_pb2_grpc as casefile_grpc
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.contract.clock import SystemClock
from xinqiao.journal.signing import create_signing_key
from xinqiao.server.pki import Authority, write_private
from xinqiao.store.keys import KeyStore

ROOT = Path(__file__).resolve().parents[2]
PARTNER = "kunshan-no1-middle"
STUDENTS = 500
SUBMIT = "/xinqiao.api.screening.v1.ScreeningService/SubmitAssessment"
_SCHOOL = "3205830001"
_ID_LENGTH = 16
_AT_ONCE = 1_000
# Weights of the answers 0 to 3: most pupils answer "not at all"; item 9 is positive in 8 of 100 forms.
_ITEM = (62, 25, 9, 4)
_ITEM_9 = (92, 5, 2, 1)


def create(folder: Path) -> Path:
    """Make keys, certificates and a configuration in ``folder``; the path of the configuration."""
    config = yaml.safe_load((ROOT / "config/gateway.example.yaml").read_text(encoding="utf-8"))
    for name in ("policy", "instruments", "triage", "legal_bases", "district_overlay", "documents", "reports"):
        config[name] = str(ROOT / "config" / config[name])
    pki = folder / "pki"
    pki.mkdir()
    config["server"]["listen"] = "127.0.0.1:0"
    config["server"]["tls"].update(
        certificate=str(pki / "gateway.pem"), key=str(pki / "gateway.key"), ca=str(pki / "ca.pem")
    )
    config["store"].update(
        url=f"sqlite:///{folder}/xinqiao.db", keys_url=f"sqlite:///{folder}/keys.db", keyring=str(folder / "keyring")
    )
    config["journal"]["signing_key"] = str(pki / "journal.key")
    config["adapters"], config["exchanges"] = {}, {}
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    authority = Authority(pki, SystemClock())
    certificate, key = authority.issue("gateway", dns=["localhost"])
    (pki / "gateway.pem").write_bytes(certificate)
    write_private(pki / "gateway.key", key)
    certificate, key = authority.issue(PARTNER, uris=[config["partners"][PARTNER]["spiffe"]])
    (pki / "partner.pem").write_bytes(certificate)
    write_private(pki / "partner.key", key)
    KeyStore.create(folder / "keyring")
    create_signing_key(pki / "journal.key")
    return path


def channel(folder: Path, port: int) -> grpc.Channel:
    """A channel of the school's platform."""
    pki = folder / "pki"
    credentials = grpc.ssl_channel_credentials(
        *(pki.joinpath(name).read_bytes() for name in ("ca.pem", "partner.key", "partner.pem"))
    )
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.ssl_target_name_override", "localhost")])


def register(folder: Path, port: int, first: int = 0, students: int = STUDENTS) -> None:
    """Put so many students into the gateway, the first of them with the local id of ``first``."""
    with channel(folder, port) as opened:
        stub = casefile_grpc.CaseFileServiceStub(opened)
        for start in range(first, first + students, _AT_ONCE):
            request = casefile.RegisterStudentsRequest(request_id=f"bench-roster-{start:07d}")
            for number in range(start, min(start + _AT_ONCE, first + students)):
                request.students.add(
                    local_id=_local(number), family_name="欧阳", given_name=f"同学{number}", birth_date="2011-05-04",
                    sex=types.Sex.ValueType(1 + number % 2), school=_SCHOOL, school_title="示范中学", grade="八年级",
                )  # fmt: skip
            stub.RegisterStudents(request, timeout=30)


def local_id(number: int) -> str:
    """The school's own id of a student of the roster."""
    return _local(number % STUDENTS)


def _local(number: int) -> str:
    return f"2023{number:06d}"


def answers(chance: random.Random) -> bytes:
    """One PHQ-9 form, nine answers of 0 to 3."""
    return bytes([*chance.choices(range(4), _ITEM, k=8), *chance.choices(range(4), _ITEM_9)])


def submissions(seed: int) -> Iterator[bytes]:
    """Requests without end, serialized, each with a ``request_id`` never used before for this ``seed``.

    Field 1 is the id, of fixed length, so a form is serialized once and only its id is put in front.
    """
    chance = random.Random(seed)
    forms: list[bytes] = []
    for number in range(2 * STUDENTS):
        form = screening.SubmitAssessmentRequest(instrument="PHQ-9", taken_on="2026-10-01", answers=answers(chance))
        form.student.local_id = local_id(number)
        forms.append(form.SerializeToString(deterministic=True))
    tag = bytes([1 << 3 | 2, _ID_LENGTH])
    number = 0
    while True:
        yield tag + f"b{seed:05d}-{number:09d}".encode() + forms[number % len(forms)]
        number += 1


def batches(
    rows: int, size: int, seed: int, first: int = 0, students: int = STUDENTS
) -> Iterator[screening.AssessmentBatch]:  # fmt: skip
    """``rows`` forms in batches of ``size``, the students that :func:`register` put in for the same numbers in turn."""
    chance = random.Random(seed)
    for number, start in enumerate(range(0, rows, size), 1):
        count = min(size, rows - start)
        yield screening.AssessmentBatch(
            number=number,
            local_ids=[_local(first + (start + index) % students) for index in range(count)],
            answers=b"".join(answers(chance) for _ in range(count)),
        )


@contextmanager
def server(kind: str, folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server process: its port, and the process."""
    script = str(Path(__file__).with_name("serve.py"))
    process = subprocess.Popen(
        [sys.executable, script, kind, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    try:
        port = process.stdout.readline()
        if not port:
            raise RuntimeError(f"the {kind} server did not start: see above")
        yield int(port), process
    finally:
        process.stdin.close()
        process.wait(60)
