"""Why a submission costs what it costs: CPU microseconds by stage, of the same commands without gRPC, in this process.

Each stage is a function of the gateway with a clock around it (``time.thread_time``, so that a busy machine counts for
little); what a stage calls that is a stage itself counts there alone. The commands go through the store's own writer.
"""

import logging
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deployment
from rich.table import Table

from xinqiao.adapters.host import AdapterHost
from xinqiao.cli.serving import tune_interpreter
from xinqiao.contract import decode
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.students import Students
from xinqiao.screening import service
from xinqiao.server import pipeline
from xinqiao.server.runtime import Gateway
from xinqiao.store.batch import Batch
from xinqiao.store.queue import Job
from xinqiao.store.sealing import Sealer
from xinqiao.store.writer import SqliteWriter

CALLERS = (1, 16, 64)
_CALLS = 3_200
_DISK = "waiting for the disk (no CPU)"
_STAGES: tuple[tuple[Any, str, str], ...] = (
    (pipeline, "decode", "parse, canonical form"),
    (decode, "validate", "text and constraints"),
    (pipeline.Pipeline, "mutation", "hash of the request"),
    (Batch, "look_up", "seen this request_id?"),
    (Students, "resolve", "find the student"),
    (service, "score", "score"),
    (service, "propose", "propose a tier"),
    (Sealer, "seal", "seal form, answer, triage"),
    (Students, "name", "the caller's pseudonym"),
    (Call, "view", "what the caller may see"),
    (Call, "journal", "journal row, chained"),
    (service.Screening, "follow_up", "triage, signal, holdings"),
    (pipeline.Pipeline, "run", "the rest of the command"),
    (Batch, "flush", "rows into SQLite"),
    (SqliteWriter, "_end", "commit"),
)


class Stages:
    """CPU seconds by stage, and seconds that the commits waited."""

    def __init__(self) -> None:
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self._open = threading.local()
        self._own = self._parents = 0.0  # what a clock costs, within its stage and beside it
        nothing, rounds, begin = self.around(bool, ""), 20_000, time.thread_time()
        for _ in range(rounds):
            nothing()
        spent = time.thread_time() - begin
        self._own, self._parents = self.cpu[""] / rounds, (spent - self.cpu.pop("")) / rounds

    def around(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        """``function`` with its own time added to ``label``, without that of the stages inside."""

        def timed(*given: Any, **named: Any) -> Any:
            inside: list[float] = self._open.__dict__.setdefault("inside", [0.0])
            inside.append(0.0)
            begin, wall = time.thread_time(), time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                spent = time.thread_time() - begin
                self.cpu[label] += spent - inside.pop() - self._own
                inside[-1] += spent + self._parents
                if label == "commit":
                    self.cpu[_DISK] += time.perf_counter() - wall - spent

        return timed

    @contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Put the clocks in place, and take them out again."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in _STAGES]
        static = {(owner, name) for owner, name, _ in _STAGES if isinstance(vars(owner).get(name), staticmethod)}
        try:
            for owner, name, label in _STAGES:
                timed = self.around(getattr(owner, name), label)
                setattr(owner, name, staticmethod(timed) if (owner, name) in static else timed)
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, staticmethod(function) if (owner, name) in static else function)


def measure() -> dict[int, dict[str, float]]:
    """Microseconds a call by stage, for each number of callers whose commands share a commit."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="xinqiao-bench-") as name:
        folder = Path(name)
        deployment.create(folder)
        gateway = Gateway(folder / "gateway.yaml", host=AdapterHost.load(()))
        gateway.start(tick=False, work=False)
        try:
            deployment.register(folder, gateway.port)
            tune_interpreter()
            requests = deployment.submissions(1)
            _submit(gateway, requests, 64, 2 * deployment.STUDENTS)  # every student's key is in memory, as in the runs
            found: dict[int, dict[str, float]] = {}
            for callers in CALLERS:
                calls = _CALLS // (4 if callers == 1 else 1)
                stages = Stages()
                with stages.watching():
                    _submit(gateway, requests, callers, calls)
                found[callers] = {stage: spent / calls * 1e6 for stage, spent in stages.cpu.items()}
            return found
        finally:
            gateway.stop()


def _submit(gateway: Gateway, requests: Iterator[bytes], callers: int, calls: int) -> None:
    """``calls`` submissions, ``callers`` of them at a time and all waited for: what the edge does, without its loop."""
    line = gateway.pipeline
    method, caller = line.methods[deployment.SUBMIT], gateway.registry.find(deployment.PARTNER)
    if caller is None:
        raise RuntimeError("the deployment lacks its partner")
    for _ in range(0, calls, callers):
        answers: list[Future[Any]] = []
        jobs: list[Job] = []
        for data in (next(requests) for _ in range(callers)):
            line.admit(method, caller)
            mutation = line.mutation(method, caller, line.request(method, data), data)
            answer: Future[Any] = Future()
            answers.append(answer)
            jobs.append(Job(mutation, _give(answer), method.crisis, mutation.probe))
        gateway.store.submit_all(jobs)
        for answer in answers:
            answer.result(30)


def _give(answer: "Future[Any]") -> Callable[[Any, BaseException | None], None]:
    def done(result: Any, error: BaseException | None) -> None:
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    return done


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(found: Mapping[int, Mapping[str, float]], whole: Mapping[str, Mapping[int, float]]) -> Table:
    """Microseconds a call by stage; ``whole`` has those of the processes that were measured, gRPC and all."""
    shown = Table(title="SubmitAssessment, CPU microseconds a call", title_justify="left")
    shown.add_column("stage")
    for callers in CALLERS:
        shown.add_column(f"{callers} caller{'s' * (callers > 1)}", justify="right")
    for process, spent in whole.items():
        shown.add_row(f"the {process}'s process, gRPC and all", *(f"{spent[callers]:.0f}" for callers in CALLERS))
    shown.add_section()
    for label in [*(stage[2] for stage in _STAGES), _DISK]:
        if label == _DISK:
            sums = (sum(spent for stage, spent in found[callers].items() if stage != _DISK) for callers in CALLERS)
            shown.add_section()
            shown.add_row("these stages together", *(f"{spent:.0f}" for spent in sums))
        shown.add_row(label, *(f"{found[callers][label]:.1f}" for callers in CALLERS))
    return shown
