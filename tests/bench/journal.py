"""The journal: what a row costs a submission, how fast a journal verifies, how long a checkpoint holds others up.

``python tests/bench/journal.py [--rows 200000]``. Processor time throughout, so that a busy machine does not decide.
"""

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path

import deployment
from load import Client

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.contract.clock import SystemClock
from xinqiao.journal.append import append
from xinqiao.journal.checkpoint import Checkpointer
from xinqiao.journal.entry import ZERO_HASH, Entry, entry_hash
from xinqiao.journal.signing import create_signing_key, public_key_pem
from xinqiao.journal.verify import verify_database
from xinqiao.server.runtime import Gateway
from xinqiao.store.engine import Store, open_store
from xinqiao.store.keys import KeyStore
from xinqiao.store.migrate import upgrade

ROOT = Path(__file__).resolve().parents[2]
SCHOOL = "kunshan-no1-middle"
FULL = 1_000_000
_SUBMISSIONS = 400
_NEW = 1_000
_COMMAND = """
import sys, time
from pathlib import Path
from xinqiao.cli.app import main
code = main(sys.argv[1:])
print(time.process_time(), Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0], file=sys.stderr)
sys.exit(code)
"""
Line = tuple[str, str, str, float, str, float, str, str]


def lines(rows: int, rounds: int) -> list[Line]:
    """Name, figure, baseline, ratio, direction, target, unit and note, as ``run.Result`` takes them."""
    with tempfile.TemporaryDirectory(prefix="xinqiao-journal-") as name:
        folder = Path(name)
        return [appending(folder, rounds), *long_journal(folder, rows, rounds)]


# -- append -----------------------------------------------------------------------------------------------------------


def appending(folder: Path, rounds: int, seconds: float = 1.0) -> Line:
    """What the row adds, measured in one process with and without it, as a share of a whole submission over gRPC."""
    row = _row(folder / "inside", 2 * rounds)
    (folder / "served").mkdir()
    deployment.create(folder / "served")
    whole = list[float]()
    with deployment.server("gateway", folder / "served") as (port, process):
        deployment.register(folder / "served", port)
        forms = deployment.submissions(os.getpid() % 100_000)
        for _ in range(2 * rounds):
            client, begin = Client(folder / "served", port, deployment.SUBMIT, 16), _busy(process.pid)
            load = client.run(forms, seconds)
            client.close()
            if load.failed:
                raise RuntimeError(f"{load.failed} of {load.calls} submissions failed")
            whole.append((_busy(process.pid) - begin) / load.calls)
    # The best of many short turns: what else runs on the machine only ever adds to a turn.
    bare = min(whole) - row
    return (
        "journal row of a submission", f"{row * 1e6:,.0f} us", f"{bare * 1e6:,.0f} us", row / bare, "<=", 0.15, "",
        "processor time; baseline: the server's for the rest of a submission, at 16 callers",
    )  # fmt: skip


def _row(folder: Path, rounds: int) -> float:
    """Processor seconds that a submission's journal row takes: through the pipeline with it, and in turn without it."""
    folder.mkdir()
    deployment.create(folder)
    gateway = Gateway(folder / "gateway.yaml", host=AdapterHost.load([]))
    gateway.start(tick=False, work=False)
    taken: dict[bool, list[float]] = {True: [], False: []}
    try:
        deployment.register(folder, gateway.port)
        partner, forms = gateway.registry.find(deployment.PARTNER), deployment.submissions(7)
        for number in range(2 * rounds + 2):
            requests = [screening.SubmitAssessmentRequest.FromString(next(forms)) for _ in range(_SUBMISSIONS)]
            with no_journal() if number % 2 else nullcontext():
                begin = time.process_time()
                waiting = [gateway.pipeline.prepare(deployment.SUBMIT, request, partner) for request in requests]
                for each in waiting:
                    each.submit()
                for each in waiting:
                    each.result()
                taken[number % 2 == 0].append((time.process_time() - begin) / _SUBMISSIONS)
    finally:
        gateway.stop()
    return min(taken[True]) - min(taken[False])


def _busy(pid: int) -> float:
    """Processor seconds of a process so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def no_journal() -> Iterator[None]:
    """Every module's ``append`` returns a row at once that is hashed by nobody and stored nowhere."""
    row = Entry("main", 1, 0, "k", "", "a", "", 0, 0, None, "", "", "", "", ZERO_HASH, ZERO_HASH, ZERO_HASH)
    whole = append
    places = [module for module in list(sys.modules.values()) if getattr(module, "append", None) is whole]
    for module in places:
        vars(module)["append"] = lambda *_, **__: row
    try:
        yield
    finally:
        for module in places:
            vars(module)["append"] = whole


# -- a long journal ---------------------------------------------------------------------------------------------------


def long_journal(folder: Path, rows: int, rounds: int) -> list[Line]:
    """Verifying and signing at ``rows`` rows."""
    key = create_signing_key(folder / "journal.key")
    (folder / "journal.pub").write_bytes(public_key_pem(key))
    KeyStore.create(folder / "keyring")
    urls = [f"sqlite:///{folder / name}.db" for name in ("records", "keys")]
    upgrade(urls[0], urls[1])
    _fill(folder / "records.db", rows)
    store = open_store(urls[0], urls[1], folder / "keyring", SystemClock())
    try:
        memory = folder / "journal.heads"
        cold = _signed(Checkpointer(store, key, "bench", memory=memory))
        steady, restarted, stalls = list[float](), list[float](), list[float]()
        running = Checkpointer(store, key, "bench", memory=memory)
        for _ in range(rounds):
            _append(store)
            stalls.append(_stall(running, steady))
            _append(store)
            running = Checkpointer(store, key, "bench", memory=memory)
            restarted.append(_signed(running))
    finally:
        store.close()
    pause = max(statistics.median(steady), statistics.median(restarted))
    return [
        *_verifying(folder, rounds),
        *_breach(folder, rows, rounds),
        (
            f"checkpoint of {_NEW:,} rows at {rows:,}", f"{pause * 1e3:.1f} ms",
            f"{statistics.median(stalls) * 1e3:.1f} ms", pause * 1e3, "<=", 50, " ms",
            f"processor time of all of it, also after a restart; baseline: longest stop of another thread meanwhile; "
            f"without the signer's memory, once, {cold:.1f} s in pages" + ("" if rows == FULL else "; meant for --full"),
        ),
    ]  # fmt: skip


def _fill(database: Path, rows: int, *, students: int = 40_000, partners: int = 1) -> None:
    """Rows as submissions and releases write them, chained, without going through a gateway."""

    def chain() -> Iterator[Entry]:
        prev = ZERO_HASH
        for seq in range(1, rows + 1):
            entry = Entry(
                "main", seq, 1_790_000_000_000_000 + seq, "assessment.submitted", "permit", SCHOOL,
                f"agency-{seq * 7 % partners}" if partners > 1 else "", 1 + seq % 9 if partners > 1 else 1, 0x1F,
                f"0199a1b2{seq * 48_271 % students:012d}" if partners > 1 else f"0199a1b2{seq % students:012d}", f"assessments/0199a1b2c3d4{seq:012d}", "PHQ-9", "", "2026-11",
                prev, prev, b"",
            )  # fmt: skip
            prev = entry_hash(entry)
            yield entry._replace(hash=prev)

    with closing(sqlite3.connect(database)) as connection:
        marks = ", ".join("?" * len(Entry._fields))
        connection.executemany(f"INSERT INTO journal VALUES ({marks})", chain())
        connection.commit()


def _append(store: Store) -> None:
    store.run(
        lambda tx: [append(tx, kind="released", decision="permit", actor="gateway", resource="r") for _ in range(_NEW)]
    )


def _signed(checkpointer: Checkpointer) -> float:
    begin = time.process_time()
    if not checkpointer.run_once():
        raise RuntimeError("there was nothing to sign")
    return time.process_time() - begin


def _stall(checkpointer: Checkpointer, times: list[float]) -> float:
    """The longest time that another thread, which only wants to run now and then, could not while it signed."""
    gaps, done = [0.0], threading.Event()

    def beat() -> None:
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=beat)
    thread.start()
    times.append(_signed(checkpointer))
    done.set()
    thread.join()
    return max(gaps)


def _verifying(folder: Path, rounds: int) -> list[Line]:
    """The whole verification against reading the same rows and hashing them, in turn."""
    ours, bare, number = list[float](), list[float](), 0
    for _ in range(max(2, rounds // 2)):
        begin = time.process_time()
        report = verify_database(str(folder / "records.db"), folder / "journal.pub")
        ours.append(time.process_time() - begin)
        if report.code:
            raise RuntimeError(f"the journal does not verify: {report.lines()}")
        begin = time.process_time()
        number = _hash_all(folder / "records.db")
        bare.append(time.process_time() - begin)
    rate, base = number / min(ours), number / min(bare)
    return [
        ("journal verify", f"{rate:,.0f} rows/s", f"{base:,.0f} rows/s", rate / base, ">=", 0.3, "",
         f"processor time; {number:,} rows; baseline: the same rows read, their values joined, SHA-256"),
        ("journal verify, absolute", f"{rate:,.0f} rows/s", "", rate, ">=", 50_000, "", "processor time"),
    ]  # fmt: skip


def _breach(folder: Path, rows: int, rounds: int) -> list[Line]:
    """`xinqiao audit scope` over every row, a process of its own, against a bare scan of them; and its memory."""
    database = folder / "breached.db"
    upgrade(f"sqlite:///{database}", f"sqlite:///{folder / 'breached-keys.db'}")
    _fill(database, rows, students=rows // 5, partners=40)
    whole, bare, wall, peak = list[float](), list[float](), list[float](), 0
    for _ in range(max(2, rounds // 2)):
        seconds, busy, peak = _audit(database, "--since", "2026-01-01")
        wall.append(seconds)
        whole.append(busy)
        begin = time.process_time()
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            deque(connection.execute("SELECT * FROM journal"), maxlen=0)
        bare.append(time.process_time() - begin)
    _, _, least = _audit(database, "--rows", "main/1-1")
    spent, scan, seconds = min(whole), min(bare), min(wall)
    return [
        (f"breach scope of {rows:,} rows", f"{spent:.1f} s", f"{scan:.1f} s", spent / scan, "<=", 10, "",
         f"processor time, all of the command; baseline: the rows read and thrown away; {rows // 5:,} students"),
        ("breach scope, absolute", f"{seconds:.1f} s", "", seconds * FULL / rows, "<=", 60, " s",
         "wall clock, for a million rows"),
        ("breach scope, memory", f"{peak / 1024:.0f} MB", f"{least / 1024:.0f} MB", (peak - least) / 1024, "<=", 32,
         " MB", "highest of the process; baseline: the same command over one row"),
    ]  # fmt: skip


def _audit(database: Path, *words: str) -> tuple[float, float, int]:
    """Seconds by the clock and of the processor, and the highest resident memory, KiB, of one command."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", _COMMAND, "audit", "scope", "--database", str(database), "--json", *words]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    busy, peak = done.stderr.split()
    return time.perf_counter() - begin, float(busy), int(peak)


def _hash_all(database: Path) -> int:
    count = 0
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        for row in connection.execute("SELECT * FROM journal ORDER BY writer, seq"):
            sha256(b"%b" * 17 % tuple([v if type(v) is bytes else b"%d" % v if v else b"" for v in row])).digest()
            count += 1
    return count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name, figure, baseline, ratio, better, target, unit, note in lines(options.rows, options.rounds):
        met = ratio >= target if better == ">=" else ratio <= target
        print(
            f"{name}: {figure} ({baseline}), {ratio:.3f}{unit} {better} {target:g}: {'met' if met else 'NOT MET'}; {note}"
        )


if __name__ == "__main__":
    main()
