"""`xinqiao keys rotate|status|destroy` and `student shred`, against a gateway in a process of its own."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from xinqiao.api.casefile.v1.casefile_service_pb2 import GetCaseRequest, RegisterStudentsRequest
from xinqiao.api.casefile.v1.casefile_service_pb2_grpc import CaseFileServiceStub
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.texts import Texts
from xinqiao.contract.clock import SystemClock
from xinqiao.contract.errors import Refusal
from xinqiao.store.keys import KeyStore
from xinqiao.store.migrate import upgrade

SCHOOL, PSYCH = "kunshan-no1-middle", "psych-chen"
KEYS = 20_000


class Served:
    """A gateway on a folder with many students' keys; it can be killed and started again."""

    def __init__(self, run, config: Path) -> None:
        self._run, self.config, self.folder = run, config, config.parent
        self.address = ""
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "xinqiao.cli", "serve", "--config", str(self.config), "--log-level", "error"],
            env=os.environ | {"XINQIAO_LANG": "en"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.address = f"127.0.0.1:{line.partition('on port ')[2].partition(',')[0]}"

    def end(self, number: int) -> None:
        self._process.send_signal(number)
        self._process.communicate(timeout=30)

    def __call__(self, *arguments: object):
        return self._run(*arguments, "--config", self.config, "--address", self.address)

    def rows(self, kind: str) -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect(self.folder / "records.db")) as records:
            asked = "SELECT resource, reason, actor FROM journal WHERE kind = ? ORDER BY seq"
            return [(str(a), str(b), str(c)) for a, b, c in records.execute(asked, (kind,))]


@pytest.fixture(scope="module")
def served(run, make_config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config = make_config(tmp_path_factory.mktemp("kept"))
    folder = config.parent
    assert run("keys", "init", "--config", config).returncode == 0
    upgrade(f"sqlite:///{folder / 'records.db'}", f"sqlite:///{folder / 'keys.db'}")
    keys = KeyStore(folder / "keyring", f"sqlite:///{folder / 'keys.db'}", SystemClock())
    keys.seal_first("students", [(f"synthetic-{n:06}", b"") for n in range(KEYS)])
    keys.close()
    gateway = Served(run, config)
    yield gateway
    gateway.end(signal.SIGTERM)


def state(served) -> dict[str, object]:
    done = served("keys", "status", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_rotation_outlives_the_command_and_a_kill_of_the_gateway(served):
    assert state(served)["current"] == 1
    begun = served("keys", "rotate", "--reason", "INCIDENT:ticket-4711", "--no-wait", "--json")
    assert begun.returncode == 0, begun.stderr
    assert json.loads(begun.stdout)["rewrapping"]
    served.end(signal.SIGKILL)
    with closing(sqlite3.connect(served.folder / "keys.db")) as keys:
        assert keys.execute("SELECT count(*) FROM student_keys WHERE kek = 1").fetchone()[0] > 0
    served.start()
    while state(served)["rewrapping"]:
        time.sleep(0.5)
    done = served("keys", "status")
    assert "key-encryption key 2, held by file" in done.stdout
    assert "1 retired" in done.stdout
    with closing(sqlite3.connect(served.folder / "keys.db")) as keys:
        assert keys.execute("SELECT kek, count(*) FROM student_keys GROUP BY kek").fetchall() == [(2, KEYS)]
    assert [row[1:] for row in served.rows("keys.rotated")] == [("INCIDENT:ticket-4711", "bureau-admin")]


def test_the_retired_key_is_destroyed_only_on_a_clear_word(served):
    refused = served("keys", "destroy", "--reason", "SHRED_DEADLINE")
    assert refused.returncode == 64
    assert "--yes" in refused.stderr
    assert (served.folder / "keyring" / "kek").exists()
    done = served("keys", "destroy", "--reason", "SHRED_DEADLINE", "--yes")
    assert (done.returncode, done.stdout.strip()) == (0, "destroyed key-encryption keys: 1")
    assert sorted(path.name for path in (served.folder / "keyring").iterdir()) == ["kek.2"]
    assert served.rows("keys.destroyed") == [("keks/1", "SHRED_DEADLINE", "bureau-admin")]
    assert [row[0] for row in served.rows("keys.retired")] == ["keks/1"]
    served.end(signal.SIGTERM)
    served.start()  # with the second key file alone
    assert state(served)["retired"] == 0
    assert served._run("config", "check", served.config, "--in-repository").returncode == 0
    kept = served._run("keys", "init", "--config", served.config)
    assert kept.returncode == 0
    assert "\n0 created" in kept.stdout


def test_a_student_is_shredded_once_the_id_is_written_again(served, tmp_path):
    texts = Texts("en")
    request = RegisterStudentsRequest(request_id=request_id())
    for local in ("2023000117", "2023000118"):
        request.students.add(local_id=local, school="3205830001", birth_date="2011-05-04", family_name="龘靐麤")
    with connect(texts, served.config, SCHOOL, served.address) as remote:
        remote.call(CaseFileServiceStub(remote.channel).RegisterStudents, request)
    shred = ("student", "shred", "2023000117", "--as", PSYCH, "--reason", "GUARDIAN_ASKED:letter-118")
    assert served(*shred).returncode == 64
    wrong = served(*shred, "--confirm", "2023000118")
    assert wrong.returncode != 0
    assert "must repeat" in wrong.stderr
    assert served.rows("student.shredded") == []
    done = served(*shred, "--confirm", "2023000117")
    assert done.returncode == 0, done.stderr
    assert served.rows("student.shredded") == [("students", "GUARDIAN_ASKED:letter-118", PSYCH)]
    with connect(texts, served.config, PSYCH, served.address) as remote:
        ask = CaseFileServiceStub(remote.channel).GetCase
        with pytest.raises(Refusal) as refused:
            remote.call(ask, GetCaseRequest(student={"local_id": "2023000117"}))
        assert refused.value.reason == "STUDENT"
        assert remote.call(ask, GetCaseRequest(student={"local_id": "2023000118"})).case.student.family_name
