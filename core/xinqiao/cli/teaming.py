"""`xinqiao teams`: care teams, who is in them until when, and who must do what by when."""

from pathlib import Path

from xinqiao.api.casefile.v1 import sharing_pb2, team_pb2
from xinqiao.api.casefile.v1 import team_service_pb2 as rpc
from xinqiao.api.casefile.v1.team_service_pb2_grpc import CareTeamServiceStub
from xinqiao.cli.output import as_json, plain, say, when
from xinqiao.cli.remote import connect
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.cli.words import word


def list_teams(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print the caller's teams, newest first."""
    with connect(texts, config, partner, address) as remote:
        stub = CareTeamServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[team_pb2.CareTeam], str]:
            page = remote.call(stub.ListTeams, rpc.ListTeamsRequest(page_size=size, page_token=token))
            return list(page.teams), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        rows = [
            (
                each.name, each.student, each.school_agency, _state(each), len(each.members), when(each.create_time_us),
            )
            for each in found
        ]  # fmt: skip
        table([texts(f"col.{name}") for name in ("name", "student", "school", "state", "members", "began")], rows)
    return 0


def show(texts: Texts, config: Path, partner: str, address: str, *, name: str, json: bool) -> int:
    """Print a team's members and its tasks; what a task says only as JSON."""
    with connect(texts, config, partner, address) as remote:
        team = remote.call(CareTeamServiceStub(remote.channel).GetTeam, rpc.GetTeamRequest(name=name)).team
    if json:
        as_json(plain(team))
        return 0
    say(texts("teams.of", name=team.name, school=team.school_agency, state=_state(team)))
    members = [
        (
            each.name, each.recipient, word(sharing_pb2.MemberRole.Name(each.role), "MEMBER_ROLE_"),
            word(sharing_pb2.ShareState.Name(each.state), "SHARE_STATE_"), when(each.not_after_us),
        )
        for each in team.members
    ]  # fmt: skip
    if members:
        table([texts(f"col.{column}") for column in ("name", "partner", "role", "state", "until")], members)
    tasks = [
        (each.name, each.holder, word(team_pb2.TaskState.Name(each.state), "TASK_STATE_"), when(each.due_us))
        for each in team.tasks
    ]
    if tasks:
        table([texts(f"col.{column}") for column in ("name", "holder", "state", "until")], tasks)
    return 0


def _state(team: team_pb2.CareTeam) -> str:
    return word(team_pb2.TeamState.Name(team.state), "TEAM_STATE_")
