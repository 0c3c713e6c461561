"""``isolation: process``: what an adapter does in its own process harms nobody, and what it must not reach it does not."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.agency import AgencyHandle
from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.host import AdapterHost, AgencySpec, BlockedPlugin
from xinqiao.adapters.isolation import landlock
from xinqiao.adapters.isolation.frames import WINDOW
from xinqiao.adapters.workers import READ_AHEAD
from xinqiao.api.adapter.v1.adapter_service_pb2 import CapacityRequest, DeliverRequest, Rejected
from xinqiao.api.common.v1.options_pb2 import LANE_CRISIS, LANE_ROUTINE
from xinqiao.api.exchange.v1.exchange_pb2 import Package
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.api.referral.v1.referral_pb2 import ReferralPackage

MODULE = (
    """\
import os, re, signal, socket, subprocess, threading, time
from pathlib import Path

from pydantic import BaseModel

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao.api.adapter.v1.adapter_service_pb2 import CapacityResponse, DeliverResponse, ReadResponse
from xinqiao.config import Secret

grown = []


class Settings(BaseModel):
    hosts: list[str] = []
    token: Secret | None = None
    target: str = ""




class Adapter:
    def __init__(self, settings, context):
        self.settings, self.context = settings, context

    def check(self):
        return str(os.getpid())

    def deliver(self, request, timeout_s):
        word = request.request_id.split("-")[0]
        return DeliverResponse(receipt=str(getattr(self, "do_" + word)(request, timeout_s)))

    def do_fine(self, request, timeout_s):
        return "r/" + request.request_id

    def do_unavailable(self, *_):
        raise PartnerUnavailable("busy", 7.5)

    def do_refused(self, *_):
        raise PartnerRefused("HTTP/403", "no")

    def do_rejected(self, *_):
        raise RecordRejected("DATA/NUMBER", "not a number", "PID-3")

    def do_broken(self, *_):
        raise ValueError("secret text of a person")

    def do_quits(self, *_):
        raise SystemExit(3)

    def do_exits(self, *_):
        os._exit(3)

    def do_segfaults(self, *_):
        signal.raise_signal(signal.SIGSEGV)

    def do_hangs(self, *_):
        time.sleep(600)

    def do_holds(self, *_):
        re.match("(a+)+$", "a" * 60 + "b")

    def do_grows(self, *_):
        while True:
            grown.append(bytearray(16 * 2**20))

    def do_shouts(self, *_):
        for _ in range(200):
            print("x" * 2**20)
        return "said"

    def do_reads(self, *_):
        return len(Path(self.settings.target).read_bytes())

    def do_writes(self, *_):
        (self.context.folder / "own").write_text("mine")
        Path(self.settings.target).write_bytes(b"")

    def do_lists(self, *_):
        return os.listdir(Path(self.settings.target).parent)

    def do_environment(self, *_):
        return sorted(os.environ)

    def do_token(self, *_):
        return self.settings.token.reveal()

    def do_descriptors(self, *_):
        return sum(1 for n in range(3, 200) if _open(n))

    def do_connects(self, *_):
        host, port = self.settings.target.split(":")
        with socket.create_connection((host, int(port)), 2):
            return "connected"

    def do_names(self, *_):
        socket.getaddrinfo("undeclared.example", 443)

    def do_forks(self, *_):
        if os.fork() == 0:
            os._exit(0)

    def do_runs(self, *_):
        subprocess.run(["/bin/true"])

    def do_kills(self, *_):
        os.kill(os.getppid(), 0)

    def do_types(self, *_):
        return 1

    def do_seals(self, *_):
        spool = self.context.spool("in")
        spool.put("k", b"a person")
        return spool.pending()[0].data.decode()

    def capacity(self, request, timeout_s):
        return CapacityResponse(capacity=2)

    def read(self, cursor):
        for n in range(int(cursor or 0), 500):
            (self.context.folder / "progress").write_text(str(n))
            yield ReadResponse(cursor=str(n + 1), referral={{"source": "s"}})

    def report(self, rejected):
        (self.context.folder / "told").write_text(",".join(each.reason for each in rejected))

    def exchange(self, package, request_id, timeout_s):
        return None

    def close(self):
        (self.context.folder / "closed").write_text("")


def _open(n):
    try:
        os.fstat(n)
        return True
    except OSError:
        return False


@hookimpl
def xinqiao_adapters():
    return [AdapterKind("{name}", Settings, Adapter, lambda s: s.hosts, lambda folder: None)]
""".replace("{{", "{")
    .replace("}}", "}")
    .replace("{name}", "walled")
)


class World:
    """A host with one plugin and what the tests configure of it."""

    def __init__(self, site: Any, folder: Path, manifest: str) -> None:
        site.add("walled", module=MODULE, manifest=manifest.replace("[check,", "[check, capacity,"))
        self.folder = folder / "data" / "adapters"
        self.host = AdapterHost.load(["walled"], entry_points=site.entry_points)

    def start(
        self, *agencies: str, deadline_s: float = 20.0, isolation: Any = "process", **settings: Any
    ) -> list[AgencyHandle]:
        specs = {
            a: AgencySpec(a, {}, "walled", settings, deadline_s=deadline_s, isolation=isolation, memory_mb=768)
            for a in agencies
        }
        handles = self.host.start(specs, deployment="test", folder=self.folder, seal=lambda agency: Sealer())
        return [handles[a] for a in agencies]


class Sealer:
    def seal(self, plaintext: bytes, *, table: str, key: str) -> bytes:
        return f"{table}/{key}:".encode() + plaintext[::-1]

    def open(self, blob: bytes, *, table: str, key: str) -> bytes:
        return blob.removeprefix(f"{table}/{key}:".encode())[::-1]


@pytest.fixture
def world(site: Any, tmp_path: Path, manifest_text: Callable[[str], str]) -> Iterator[World]:
    world = World(site, tmp_path, manifest_text("walled"))
    yield world
    world.host.close()


def ask(word: str, lane: Any = LANE_ROUTINE) -> DeliverRequest:
    return DeliverRequest(request_id=f"{word}-000001", lane=lane, attempt=1, referral=ReferralPackage())


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def pid_of(handle: AgencyHandle) -> int:
    return int(handle.check())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_each_call_goes_over_and_comes_back(world: World) -> None:
    [agency] = world.start("a")
    assert pid_of(agency) != os.getpid()
    assert agency.deliver(ask("fine")).receipt == "r/fine-000001"
    assert agency.exchange(Package(), "request-1") is None
    answer = agency.capacity(CapacityRequest(), 5)
    assert answer is not None and answer.capacity == 2
    agency.report([Rejected(reason="DATA/A"), Rejected(reason="DATA/B")])
    assert (world.folder / "a" / "told").read_text() == "DATA/A,DATA/B"
    assert [item.cursor for item in agency.read("495")] == ["496", "497", "498", "499", "500"]
    assert agency.state == gateway.AGENCY_STATE_READY


def test_errors_mean_the_same_as_in_process(world: World) -> None:
    [agency] = world.start("a")
    with pytest.raises(PartnerUnavailable, match="busy") as unavailable:
        agency.deliver(ask("unavailable"))
    assert unavailable.value.retry_after_s == 7.5
    with pytest.raises(PartnerRefused, match="HTTP/403: no"):
        agency.deliver(ask("refused"))
    with pytest.raises(RecordRejected, match="PID-3: DATA/NUMBER: not a number"):
        agency.deliver(ask("rejected"))
    for word in ("broken", "quits"):
        with pytest.raises(PartnerRefused, match="ADAPTER/BROKEN") as broken:
            agency.deliver(ask(word))
        assert "secret text" not in str(broken.value)
    assert agency.deliver(ask("fine")).receipt


def test_a_stream_stays_a_window_ahead_and_stops_when_nobody_takes(world: World) -> None:
    [agency] = world.start("a")
    stream = agency.read("")
    next(stream)
    progress = world.folder / "a" / "progress"
    # Of 500. The gateway takes one window to lie in wait, and grants the process as much again. Only once the process
    # has used that up does the file say something: before, a slow machine is still on its way there.
    ahead = READ_AHEAD + WINDOW
    until(lambda: progress.read_text() == str(ahead))
    time.sleep(0.3)
    assert progress.read_text() == str(ahead)
    stream.close()
    time.sleep(0.2)
    assert progress.read_text() == str(ahead)
    assert len(list(agency.read(""))) == 500


@pytest.mark.parametrize(
    ("word", "why"), [("exits", "exit code 3"), ("segfaults", "SIGSEGV"), ("grows", "memory limit of 768 MB")]
)
def test_a_crash_is_the_agencys_own_and_it_comes_back(world: World, word: str, why: str) -> None:
    bad, good = world.start("bad", "good")
    before = pid_of(bad)
    with pytest.raises(PartnerUnavailable, match=why):
        bad.deliver(ask(word))
    assert bad.state == gateway.AGENCY_STATE_RETRYING and why in bad.message
    assert good.deliver(ask("fine")).receipt and good.state == gateway.AGENCY_STATE_READY
    until(lambda: "process has ended" not in bad.message)
    assert bad.deliver(ask("fine")).receipt
    assert pid_of(bad) != before
    assert bad.state == gateway.AGENCY_STATE_READY


def test_a_process_that_hangs_is_killed_and_holds_no_thread(world: World) -> None:
    bad, good = world.start("bad", "good", deadline_s=3.0)
    before = pid_of(bad)
    start = time.monotonic()
    with pytest.raises(PartnerUnavailable, match="hung"):
        bad.deliver(ask("hangs"))
    assert 2.0 < time.monotonic() - start < 3.5
    until(lambda: gone(before))
    assert bad.workers.hung == 0
    assert good.deliver(ask("fine")).receipt


def test_red_does_not_wait_for_the_back_off(world: World) -> None:
    [agency] = world.start("a")
    for _ in range(3):  # by now a routine call waits for seconds
        with pytest.raises(PartnerUnavailable):
            agency.deliver(ask("exits", LANE_CRISIS))
        until(lambda: "process has ended" in agency.message)
    with pytest.raises(PartnerUnavailable, match="started again soon"):
        agency.deliver(ask("fine"))
    start = time.monotonic()
    assert agency.deliver(ask("fine", LANE_CRISIS)).receipt
    assert time.monotonic() - start < 4.0


def test_what_it_prints_goes_nowhere(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    [agency] = world.start("a")
    assert agency.deliver(ask("shouts")).receipt == "said"
    assert "xxx" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("word", ["reads", "writes", "lists"])
def test_the_store_cannot_be_reached(world: World, tmp_path: Path, word: str) -> None:
    store = tmp_path / "data" / "keys.db"
    store.parent.mkdir(exist_ok=True)
    store.write_text("keys of all")
    [agency] = world.start("a", target=str(store))
    with pytest.raises(PartnerRefused, match="PermissionError"):
        agency.deliver(ask(word))
    assert store.read_text() == "keys of all"


def test_the_environment_holds_only_what_its_settings_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINQIAO_DB_PASSWORD", "of the store")
    [agency] = world.start("a")
    names = agency.deliver(ask("environment")).receipt
    assert "XINQIAO_DB_PASSWORD" not in names and "HOME" not in names


def test_no_descriptor_of_the_gateway_is_inherited(world: World) -> None:
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    for number in held:
        os.set_inheritable(number, True)
    [agency] = world.start("a")
    assert agency.deliver(ask("descriptors")).receipt == "2"  # its link and its lifeline
    for number in held:
        os.close(number)


def test_only_declared_hosts_are_reached(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as declared, socket.create_server(("127.0.0.1", 0)) as other:
        names = [f"127.0.0.1:{each.getsockname()[1]}" for each in (declared, other)]
        [agency] = world.start("a", hosts=names[:1], target=names[0])
        assert agency.deliver(ask("connects")).receipt == "connected"
        [agency] = AdapterHost(world.host.kinds, world.host.manifests, {}).start(
            {"b": AgencySpec("b", {}, "walled", {"hosts": names[:1], "target": names[1]}, isolation="process")},
            deployment="test", folder=world.folder,
        ).values()  # fmt: skip
        with pytest.raises(PartnerRefused, match="EGRESS/NOT_ALLOWED"):
            agency.deliver(ask("connects"))
        with pytest.raises(PartnerRefused, match="EGRESS/NOT_ALLOWED"):
            agency.deliver(ask("names"))
        agency.close(5)


@pytest.mark.parametrize("word", ["forks", "runs", "kills"])
def test_it_starts_and_stops_no_other_process(world: World, word: str) -> None:
    [agency] = world.start("a")
    with pytest.raises(PartnerRefused, match="PermissionError"):
        agency.deliver(ask(word))


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_native_code_is_fenced_in_by_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text("1")
    (tmp_path / "store").write_text("1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = textwrap.dedent(f"""
            import ctypes, sys, socket
            from pathlib import Path
            from xinqiao.adapters.isolation.landlock import restrict
            libc = ctypes.CDLL(None)
            restrict([Path("/usr"), Path({str(tmp_path / "allowed")!r})], [], [], [])
            print([libc.open(str(p).encode(), 0) >= 0 for p in ({str(tmp_path / "allowed")!r}, {str(tmp_path / "store")!r})])
            print(socket.socket().connect_ex(("127.0.0.1", {port})))
        """)
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.splitlines()[0] == "[True, False]"
    assert landlock.version() < 4 or found.splitlines()[1] == "13"


def test_the_inbox_is_sealed_by_the_gateway(world: World) -> None:
    [agency] = world.start("a")
    assert agency.deliver(ask("seals")).receipt == "a person"
    [item] = (world.folder / "a" / "in").glob("*.item")
    assert item.read_bytes() == f"spool/{item.name}:nosrep a".encode()


def test_stopping_closes_the_adapter_and_ends_its_process(world: World) -> None:
    [agency] = world.start("a")
    pid = pid_of(agency)
    agency.close(5)
    assert (world.folder / "a" / "closed").exists()
    until(lambda: gone(pid), 3)


@pytest.mark.parametrize("busy", ["fine", "hangs", "holds"])
def test_a_killed_gateway_leaves_no_process_behind(world: World, site: Any, busy: str) -> None:
    """Also where a call holds the interpreter: the kernel ends it, no thread of the process is needed."""
    code = textwrap.dedent(f"""
        import sys, threading, time
        from pathlib import Path
        sys.path.insert(0, {str(site.folder)!r})
        from importlib import metadata
        from xinqiao.adapters.host import AdapterHost, AgencySpec
        from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
        from xinqiao.api.referral.v1.referral_pb2 import ReferralPackage
        points = [p for d in metadata.distributions(path=[{str(site.folder)!r}]) for p in d.entry_points]
        host = AdapterHost.load(["walled"], entry_points=lambda: points)
        spec = AgencySpec("a", {{}}, "walled", {{}}, isolation="process")
        agency = host.start({{"a": spec}}, deployment="test", folder=Path({str(world.folder)!r}))["a"]
        pid = agency.check()
        request = DeliverRequest(request_id="{busy}-000001", attempt=1, referral=ReferralPackage())
        threading.Thread(target=agency.deliver, args=(request,), daemon=True).start()
        time.sleep(0.5)
        print(pid, flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not gone(pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    try:
        until(lambda: gone(pid), 5)
    finally:
        if not gone(pid):  # where the control was taken out, it would spin for ever
            os.kill(pid, signal.SIGKILL)


def test_an_adapter_that_does_not_come_up_is_failed_with_its_reason(world: World) -> None:
    [agency] = world.start("a", hosts=["not an endpoint"])
    assert agency.state == gateway.AGENCY_STATE_FAILED


@pytest.mark.parametrize("isolation", ["in-process", "process"])
def test_the_kill_switch_ends_a_plugin_version_and_gives_it_back(world: World, isolation: Any) -> None:
    [agency] = world.start("a", isolation=isolation)
    pid = pid_of(agency)
    world.host.block(
        [BlockedPlugin("walled", ["0.9"], "another version"), BlockedPlugin("other", [], "another plugin")]
    )
    assert agency.state == gateway.AGENCY_STATE_READY
    world.host.block([BlockedPlugin("walled", ["0.9", "1"], "leaks (advisory 7)")])
    assert agency.state == gateway.AGENCY_STATE_DISABLED
    assert agency.message == "plugin walled 1 is blocked: leaks (advisory 7)"
    assert (world.folder / "a" / "closed").exists()
    with pytest.raises(PartnerRefused, match="ADAPTER/BLOCKED"):
        agency.deliver(ask("fine"))
    if isolation == "process":
        until(lambda: gone(pid), 5)
    world.host.block([])
    assert agency.deliver(ask("fine")).receipt
    assert agency.state == gateway.AGENCY_STATE_READY


def test_a_blocked_version_is_not_started(world: World) -> None:
    world.host.block([BlockedPlugin("walled", [], "not yet reviewed")])
    [agency] = world.start("a")
    assert agency.state == gateway.AGENCY_STATE_DISABLED and "not yet reviewed" in agency.message
    assert not (world.folder / "a").exists()
    with pytest.raises(AdapterError):
        agency.check()
