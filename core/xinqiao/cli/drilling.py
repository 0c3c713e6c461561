"""`xinqiao drill ...`: practise the crisis lane, and see how long each step took."""

import time
from pathlib import Path

from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.referral.v1.referral_service_pb2_grpc import ReferralServiceStub
from xinqiao.cli.holding import span, word
from xinqiao.cli.output import as_json, plain, say, when
from xinqiao.cli.remote import Remote, connect, request_id
from xinqiao.cli.tables import coloured, table
from xinqiao.cli.texts import Texts

_POLL_S = 0.5
_MISSED = 1


def run(
    texts: Texts, config: Path, partner: str, address: str, *, school: str, hospital: str, people: bool, json: bool
) -> int:  # fmt: skip
    """Start a drill and wait for its end; with ``people`` only start it. 1 when a target was missed."""
    with connect(texts, config, partner, address) as remote:
        stub = ReferralServiceStub(remote.channel)
        request = rpc.StartDrillRequest(request_id=request_id(), school=school, recipient=hospital, people=people)
        drill = remote.call(stub.StartDrill, request).drill
        while not people and drill.state == rpc.DRILL_STATE_RUNNING:
            time.sleep(_POLL_S)
            drill = _get(remote, drill.name)
    return _report(texts, drill, json=json)


def show(texts: Texts, config: Path, partner: str, address: str, *, name: str, json: bool) -> int:
    """Print one drill's report."""
    with connect(texts, config, partner, address) as remote:
        return _report(texts, _get(remote, name if "/" in name else f"drills/{name}"), json=json)


def list_drills(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print drills, newest first."""
    with connect(texts, config, partner, address) as remote:
        stub = ReferralServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[rpc.Drill], str]:
            page = remote.call(stub.ListDrills, rpc.ListDrillsRequest(page_size=size, page_token=token))
            return list(page.drills), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        names = ("name", "school", "hospital", "began", "took", "state")
        rows = [
            (
                each.name, each.school, ", ".join(each.recipients) or each.recipient, when(each.start_time_us),
                _took(each), texts(f"drill.state.{each.state}"),
            )
            for each in found
        ]  # fmt: skip
        table([texts(f"col.{name}") for name in names], rows)
    return 0


def _get(remote: Remote, name: str) -> rpc.Drill:
    return remote.call(ReferralServiceStub(remote.channel).GetDrill, rpc.GetDrillRequest(name=name)).drill


def _report(texts: Texts, drill: rpc.Drill, *, json: bool) -> int:
    code = _MISSED if drill.state == rpc.DRILL_STATE_MISSED else 0
    if json:
        as_json(plain(drill))
        return code
    say(texts("drill.title", name=drill.name, school=drill.school, state=texts(f"drill.state.{drill.state}")))
    names = ("what", "actor", "at", "took", "due", "met")
    rows = [
        (
            word(texts, f"drill.step.{each.step}", each.step), each.actor, _clock(each.time_us),
            span(each.time_us - drill.start_time_us) if each.time_us else "",
            span(each.due_us - drill.start_time_us),
            texts("yes") if each.met else coloured(texts("drill.state.3"), "bold red") if drill.end_time_us else "",
        )
        for each in drill.steps
    ]  # fmt: skip
    table([texts(f"col.{name}") for name in names], rows)
    if drill.state == rpc.DRILL_STATE_RUNNING:
        say(texts("drill.waiting", name=drill.name))
    return code


def _clock(us: int) -> str:
    return f"{when(us)}:{us // 1_000_000 % 60:02d}.{us // 1000 % 1000:03d}" if us else ""


def _took(drill: rpc.Drill) -> str:
    last = max((step.time_us for step in drill.steps), default=0)
    return span(last - drill.start_time_us) if last else ""
