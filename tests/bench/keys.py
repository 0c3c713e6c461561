"""Keys: sealing against the bare AEAD call, and what a rotation of all students' keys costs whoever is served meanwhile.

``python tests/bench/keys.py [--students 100000]``
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import deployment
import grpc
import run
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from load import Client

from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.api.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from xinqiao.contract.clock import SystemClock
from xinqiao.server.pki import Authority
from xinqiao.store.keys import KeyStore
from xinqiao.store.migrate import upgrade
from xinqiao.store.sealing import AES_256_GCM, SM4_GCM, Aead, Sealer, Sm4Gcm

_RECORD = bytes(500)  # a typical record
_NONCE, _ABOUT = bytes(12), bytes(80)
_TIMES = 2_000
_KEY = "a" * 32
_TURN_S = 3.0
_CALLERS = 16
_OPERATOR = "bureau-admin"


def _seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    for _ in range(_TIMES):
        work()
    return (time.process_time() - begin) / _TIMES


def pair(suite: int, bare: Aead, rounds: int) -> dict[str, float]:
    """Processor seconds of each, in turn, the best of many: what is in the way of both is not the code."""
    sealer = Sealer("s" * 26, {1: (suite, bytes(32))})
    blob = sealer.seal(_RECORD, table="assessments", key=_KEY)
    sealed = bare.encrypt(_NONCE, _RECORD, _ABOUT)
    works: dict[str, Callable[[], object]] = {
        "encrypt": lambda: bare.encrypt(_NONCE, _RECORD, _ABOUT), "seal": lambda: sealer.seal(_RECORD, table="assessments", key=_KEY),
        "decrypt": lambda: bare.decrypt(_NONCE, sealed, _ABOUT), "open": lambda: sealer.open(blob, table="assessments", key=_KEY),
    }  # fmt: skip
    taken: dict[str, list[float]] = {name: [] for name in works}
    gc.disable()
    for _ in range(4 * rounds):
        for name, work in works.items():
            taken[name].append(_seconds(work))
    gc.enable()
    return {name: min(all_of) for name, all_of in taken.items()}


def rotation(students: int, rounds: int) -> tuple[float, float, float]:
    """Processor microseconds of the gateway a submission, without and beside a rotation of so many students' keys, in
    turn, medians; and how many keys a second were brought over beside them. Rates would show the machine's other work."""
    with tempfile.TemporaryDirectory(prefix="xinqiao-bench-") as name:
        folder = Path(name)
        deployment.create(folder)
        _fill(folder, students)
        with run.server("gateway", folder) as (port, process), _operator(folder, port) as operator:
            deployment.register(folder, port)
            requests = deployment.submissions(os.getpid() % 100_000)

            def cost() -> float:
                client = Client(folder, port, deployment.SUBMIT, _CALLERS)  # an idle connection is closed in between
                before = processor_s(process.pid)
                taken = client.run(requests, _TURN_S)
                client.close()
                return (processor_s(process.pid) - before) / taken.calls * 1e6

            cost()
            alone, beside, speeds = list[float](), list[float](), list[float]()
            for _ in range(rounds):
                alone.append(cost())
                before = _rotate(operator)
                beside.append(cost())
                after = operator.GetKeys(rpc.GetKeysRequest(), timeout=30).keys
                if not after.rewrapping:
                    raise RuntimeError("the rotation was over before the measurement: take more students")
                speeds.append((before.left - after.left) / _TURN_S)
                while operator.GetKeys(rpc.GetKeysRequest(), timeout=30).keys.rewrapping:
                    time.sleep(0.2)
    return statistics.median(alone), statistics.median(beside), statistics.median(speeds)


def processor_s(pid: int) -> float:
    """Processor seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fill(folder: Path, students: int) -> None:
    url = f"sqlite:///{folder / 'keys.db'}"
    upgrade(f"sqlite:///{folder / 'xinqiao.db'}", url)
    keys = KeyStore(folder / "keyring", url, SystemClock())
    for start in range(0, students, 2_000):
        keys.seal_first("students", [(f"{number:026}", b"") for number in range(start, start + 2_000)])
    keys.close()


@contextmanager
def _operator(folder: Path, port: int) -> "Iterator[GatewayServiceStub]":
    pki = folder / "pki"
    spiffe = yaml.safe_load((folder / "gateway.yaml").read_text("utf-8"))["partners"][_OPERATOR]["spiffe"]
    certificate, key = Authority(pki, SystemClock()).issue(_OPERATOR, uris=[spiffe])
    credentials = grpc.ssl_channel_credentials((pki / "ca.pem").read_bytes(), key, certificate)
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        yield GatewayServiceStub(channel)


def _rotate(operator: GatewayServiceStub) -> rpc.KeysState:
    """Begin, and wait until the keys are counted and the first are over."""
    operator.RotateKeys(rpc.RotateKeysRequest(request_id=f"bench-{time.time_ns()}", reason="BENCH"), timeout=30)
    while not (keys := operator.GetKeys(rpc.GetKeysRequest(), timeout=30).keys).total:
        time.sleep(0.05)
    return keys


def lines(students: int, rounds: int) -> list[tuple[str, str, str, float, str, float, str, str]]:
    """Name, figure, baseline, ratio, direction, target, unit and note, as ``run.Result`` takes them."""
    found: list[tuple[str, str, str, float, str, float, str, str]] = []
    for title, suite, bare in (
        ("AES-256-GCM", AES_256_GCM, AESGCM(bytes(32))),
        ("SM4-GCM", SM4_GCM, Sm4Gcm(bytes(16))),
    ):
        taken = pair(suite, bare, rounds)
        for ours, theirs in (("seal", "encrypt"), ("open", "decrypt")):
            found.append(
                (f"{ours}, {title}", f"{taken[ours] * 1e6:.2f} us", f"{taken[theirs] * 1e6:.2f} us",
                 taken[ours] / taken[theirs], "<=", 2, "", f"{len(_RECORD)} bytes; baseline: the bare {theirs} call")
            )  # fmt: skip
    alone, beside, speed = rotation(students, rounds)
    found.append(
        (f"SubmitAssessment beside a rotation of {students:,} keys", f"{beside:,.0f} us", f"{alone:,.0f} us",
         beside / alone, "<=", 1.2, "", f"processor time, {_CALLERS} callers; {speed:,.0f} keys/s brought over meanwhile")
    )  # fmt: skip
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name, figure, baseline, ratio, better, target, unit, note in lines(options.students, options.rounds):
        print(f"{name}: {figure} against {baseline}: ratio {ratio:.2f}{unit}, target {better} {target}{unit}; {note}")


if __name__ == "__main__":
    main()
