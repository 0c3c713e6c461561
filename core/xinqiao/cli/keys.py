"""`xinqiao keys rotate|status|destroy`, `student shred`: keys made anew and keys destroyed, by a running gateway."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from xinqiao.api.casefile.v1.casefile_service_pb2 import ShredStudentRequest
from xinqiao.api.casefile.v1.casefile_service_pb2_grpc import CaseFileServiceStub
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.api.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from xinqiao.cli.output import as_json, plain, say, warn, when
from xinqiao.cli.remote import Remote, connect, request_id
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal

_POLL_S: Final = 0.5


def rotate(
    texts: Texts, config: Path, partner: str, address: str, *, reason: str, wait: bool, json: bool
) -> int:  # fmt: skip
    """Begin a rotation, or look on at one that is under way, and wait for its end; Ctrl-C ends only the looking."""
    with connect(texts, config, partner, address) as remote:
        stub = GatewayServiceStub(remote.channel)
        keys = _state(remote)
        if not keys.rewrapping:
            keys = remote.call(stub.RotateKeys, rpc.RotateKeysRequest(request_id=request_id(), reason=reason)).keys
        with _progress(texts, keys) as progress:
            while wait and keys.rewrapping:
                time.sleep(_POLL_S)
                keys = _state(remote)
                progress(keys)
    return _show(texts, keys, json=json)


def status(texts: Texts, config: Path, partner: str, address: str, *, json: bool) -> int:
    """Print how the keys stand."""
    with connect(texts, config, partner, address) as remote:
        return _show(texts, _state(remote), json=json)


def destroy(
    texts: Texts, config: Path, partner: str, address: str, *, reason: str, yes: bool, json: bool
) -> int:  # fmt: skip
    """Destroy the retired key-encryption keys, once somebody has said yes."""
    with connect(texts, config, partner, address) as remote:
        if not yes:
            warn(texts("keys.destroy.warning"))
            if not sys.stdin.isatty() or not typer.confirm(texts("sure"), err=True):
                raise Refusal("INVALID_ARGUMENT", "USAGE", texts("not_confirmed", option="--yes"))
        request = rpc.DestroyRetiredKeysRequest(request_id=request_id(), reason=reason)
        answer = remote.call(GatewayServiceStub(remote.channel).DestroyRetiredKeys, request)
    if json:
        as_json(plain(answer))
    else:
        say(texts("keys.destroyed", versions=", ".join(map(str, answer.versions)) or "-"))
    return 0


def shred(
    texts: Texts, config: Path, partner: str, address: str, *, student: str, agency: str, reason: str, confirm: str,
    json: bool,
) -> int:  # fmt: skip
    """Erase one student, once somebody has written the id again."""
    named = sys.stdin.readline().strip() if student == "-" else student
    if not confirm:
        warn(texts("student.shred.warning"))
        if student == "-" or not sys.stdin.isatty():
            raise Refusal("INVALID_ARGUMENT", "USAGE", texts("not_confirmed", option="--confirm"))
        confirm = str(typer.prompt(texts("student.shred.again"), err=True))
    request = ShredStudentRequest(request_id=request_id(), agency=agency, reason=reason, confirm=confirm)
    if named.startswith("students/"):
        request.student.name = named
    else:
        request.student.local_id = named
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(CaseFileServiceStub(remote.channel).ShredStudent, request)
    if json:
        as_json(plain(answer))
        return 0
    say(texts("student.shredded", at=when(answer.shredded_us), cancelled=answer.cancelled_deliveries))
    if answer.recipients:
        say(texts("student.recipients", agencies=", ".join(answer.recipients)))
    return 0


def _state(remote: Remote) -> rpc.KeysState:
    return remote.call(GatewayServiceStub(remote.channel).GetKeys, rpc.GetKeysRequest()).keys


def _show(texts: Texts, keys: rpc.KeysState, *, json: bool) -> int:
    if json:
        as_json(plain(keys))
        return 0
    say(texts("keys.state", current=keys.current, provider=keys.provider))
    if keys.rewrapping:
        say(texts("keys.rewrapping", done=keys.total - keys.left, total=keys.total))
    if keys.retired:
        say(texts("keys.retired", count=keys.retired))
    return 0


@contextmanager
def _progress(texts: Texts, keys: rpc.KeysState) -> Generator[Callable[[rpc.KeysState], None]]:
    """A bar on a person's terminal; nothing where there is none."""
    if not sys.stderr.isatty():
        yield lambda _keys: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(texts("keys.rotating"), total=keys.total or None)

        def tell(now: rpc.KeysState) -> None:
            if now.total:
                bar.update(task, total=now.total, completed=now.total - now.left)

        yield tell
