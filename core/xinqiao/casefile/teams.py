"""Care teams (关爱小组; Suzhou draft art. 32): members by role, shared tasks, and no access once either has ended."""

import secrets

from xinqiao.api.casefile.v1 import sharing_pb2 as sharing
from xinqiao.api.casefile.v1 import team_pb2 as pb
from xinqiao.api.casefile.v1 import team_service_pb2 as rpc
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_CARE_TASK, PURPOSE_CARE
from xinqiao.casefile.access import Access, mask_of_access, own_student, show
from xinqiao.casefile.shares import Shares, Terms
from xinqiao.casefile.tasks import OPEN, Tasks
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.contract.fields import mask_of
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.records import check_version, newest
from xinqiao.disclosure.registry import owns
from xinqiao.disclosure.shares import active
from xinqiao.disclosure.students import Known
from xinqiao.store import tables
from xinqiao.store.sql import RowMapping, select
from xinqiao.store.tx import ReadTx

_OPEN_TEAM = int(pb.TEAM_STATE_OPEN)
_ACTIVE = int(sharing.SHARE_STATE_ACTIVE)
_YEAR_US = 366 * 86_400_000_000
_MASK_OF_TASKS = mask_of([FIELD_CLASS_CARE_TASK])


class Teams:
    """The functions behind ``CareTeamService``. A membership is a share that names its team."""

    def __init__(self, door: Door, shares: Shares, tasks: Tasks) -> None:
        self.door = door
        self.shares = shares
        self.tasks = tasks

    def open_team(self, request: rpc.OpenTeamRequest, call: Call) -> rpc.OpenTeamResponse:
        """Form a team; a student has at most one."""
        known = own_student(call, request.student)
        call.student = known.id
        identifier = secrets.token_hex(16)
        record = pb.CareTeam(school_agency=call.caller.agency).SerializeToString()
        sealed = self.door.keys.sealer(known.id).seal(record, table="teams", key=identifier)
        if not call.tx.insert_if_absent(
            tables.teams, identifier, known.id, known.school, _OPEN_TEAM, call.tx.now_us, call.tx.now_us, 1, sealed
        ):
            raise Refusal("ALREADY_EXISTS", "OPEN_TEAM", "the student has a care team: add members to that one")
        row, by = self._find(call, f"teams/{identifier}")
        response = rpc.OpenTeamResponse(team=self._team(call, row, by))
        show(call, response, known.id, by)
        call.journal("team.opened", resource=response.team.name, student=known.id, payload=record)
        return response

    def add_member(self, request: rpc.AddMemberRequest, call: Call) -> rpc.AddMemberResponse:
        """Give a partner access for its role and a term."""
        row = self._own(call, request.team)
        recipient = self.door.registry.find(request.recipient)
        if recipient is not None and not self.shares.rules.may_be(int(request.role), recipient.roles):
            raise Refusal("FAILED_PRECONDITION", "ROLE", "this partner's roles do not make it such a member")
        known = Known(str(row["student"]), str(row["school"]))
        terms = Terms(
            request.recipient, int(PURPOSE_CARE), self.shares.rules.classes(int(request.role)), request.not_after_us,
            request.reason, str(row["id"]), int(request.role),
        )  # fmt: skip
        member, withheld = self.shares.give(call, known, terms)
        record = member.SerializeToString()
        response = rpc.AddMemberResponse(member=member, withheld=withheld)
        call.view(response, student=known.id)
        word = sharing.MemberRole.Name(request.role).removeprefix("MEMBER_ROLE_")
        call.journal(
            "member.added", resource=member.name, student=known.id, reason=f"{request.recipient}:{word}:{request.reason}",
            payload=record,
        )  # fmt: skip
        return response

    def assign_task(self, request: rpc.AssignTaskRequest, call: Call) -> rpc.AssignTaskResponse:
        """Give a member, or the school, a task; it is open until reported."""
        row = self._own(call, request.team)
        student = str(row["student"])
        self._check_due(call, request.due_us)
        task = pb.CareTask(
            team=request.team, holder=request.holder, due_us=request.due_us, state=pb.TASK_STATE_OPEN, what=request.what
        )
        self.tasks.insert(call.tx, row, task, self._share_of(call, row, request.holder), call.caller.id)
        record = task.SerializeToString()
        response = rpc.AssignTaskResponse(task=task)
        call.view(response, student=student)
        call.journal(
            "task.assigned",
            resource=task.name,
            student=student,
            reason=f"{request.holder}:{request.due_us}",
            payload=record,
        )
        return response

    def hand_task(self, request: rpc.HandTaskRequest, call: Call) -> rpc.HandTaskResponse:
        """Hand an open task to another holder."""
        row, team, by = self._task(call, request.name, request.etag)
        task = self._mine(call, row, by)
        if request.due_us:
            self._check_due(call, request.due_us)
            task.due_us = request.due_us
        task.holder = request.holder
        self.tasks.store(call.tx, row, task, self._share_of(call, team, request.holder), call.caller.id)
        response = rpc.HandTaskResponse(task=task)
        self._done(call, row, by, "task.handed", f"{request.holder}:{task.due_us}", response)
        return response

    def report_task(self, request: rpc.ReportTaskRequest, call: Call) -> rpc.ReportTaskResponse:
        """End a task with its report; only the school may say that it is no longer needed."""
        row, _, by = self._task(call, request.name, request.etag)
        task = self._mine(call, row, by)
        if request.cancelled and not by.own:
            raise Refusal("PERMISSION_DENIED", "NOT_YOURS", "only the school says that a task is no longer needed")
        task.state = pb.TASK_STATE_CANCELLED if request.cancelled else pb.TASK_STATE_DONE
        task.report = request.report
        self.tasks.store(call.tx, row, task, str(row["share"]), call.caller.id)
        response = rpc.ReportTaskResponse(task=task)
        word = pb.TaskState.Name(task.state).removeprefix("TASK_STATE_")
        self._done(call, row, by, "task.reported", word, response)
        return response

    def get_team(self, request: rpc.GetTeamRequest, call: Call) -> rpc.GetTeamResponse:
        """A team with its members and tasks as the caller may see them."""
        row, by = self._find(call, request.name)
        response = rpc.GetTeamResponse(team=self._team(call, row, by))
        show(call, response, str(row["student"]), by)
        return response

    def list_teams(self, request: rpc.ListTeamsRequest, call: Call) -> rpc.ListTeamsResponse:
        """The teams the caller runs or is a member of now."""
        c, s, caller = tables.teams.c, tables.shares.c, call.caller
        schools = [school for school in caller.schools if owns(caller, school)]
        member = (s.recipient == caller.agency) & (s.state == _ACTIVE) & (s.not_after_us > call.reading.now_us)
        wanted = c.school.in_(schools) | c.id.in_(select(s.team).where(member & (s.team != "")))
        rows, following = newest(call, tables.teams, request, wanted)
        shown: list[pb.CareTeam] = []
        for row in rows:
            by = self._access(call, row)
            if by is None:
                continue
            team = self._team(call, row, by, tasks=False)
            show(call, team, str(row["student"]), by)
            shown.append(team)
        return rpc.ListTeamsResponse(teams=[team for team in shown if team.name], next_page_token=following)

    def close_team(self, request: rpc.CloseTeamRequest, call: Call) -> rpc.CloseTeamResponse:
        """Dissolve a team: every membership ends in the same transaction."""
        row = self._own(call, request.name)
        t, s = tables.tasks.c, tables.shares.c
        if call.tx.all(tables.tasks.select().where((t.team == row["id"]) & (t.state == OPEN)).limit(1)):
            raise Refusal("FAILED_PRECONDITION", "OPEN_TASKS", "report or cancel the team's open tasks first")
        for member in call.tx.all(tables.shares.select().where((s.team == row["id"]) & (s.state == _ACTIVE))):
            self.shares.end_by_clock(call.tx, member, "TEAM_CLOSED", call.caller.id)
        student = call.student = str(row["student"])
        call.tx.update(
            tables.teams, (row["id"],), state=int(pb.TEAM_STATE_CLOSED), updated_us=call.tx.now_us,
            version=int(row["version"]) + 1,
        )  # fmt: skip
        closed, by = self._find(call, request.name)
        response = rpc.CloseTeamResponse(team=self._team(call, closed, by))
        show(call, response, student, by)
        call.journal("team.closed", resource=request.name, student=student, reason=request.reason)
        return response

    # -- stored -------------------------------------------------------------------------------------------------------

    def _access(self, call: Call, row: RowMapping) -> Access | None:
        if owns(call.caller, str(row["school"])):
            return Access("OWN", call.method.purpose)
        for share in active(call.reading, str(row["student"]), call.caller.agency):
            if share["team"] == row["id"]:
                return Access("PARTY", int(share["purpose"]), f"shares/{share['id']}", share)
        return None

    def _find(self, call: Call, name: str) -> tuple[RowMapping, Access]:
        row = call.reading.get(tables.teams, name.removeprefix("teams/"))
        by = self._access(call, row) if row is not None else None
        if row is None or by is None:
            raise Refusal("NOT_FOUND", "TEAM", "no such team for this caller")
        return row, by

    def _own(self, call: Call, name: str) -> RowMapping:
        """An open team of the caller's school."""
        row, by = self._find(call, name)
        if not by.own:
            raise Refusal("NOT_FOUND", "TEAM", "no such team for this caller")
        if row["state"] != _OPEN_TEAM:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the team is dissolved")
        call.student = str(row["student"])
        return row

    def _share_of(self, call: Call, team: RowMapping, holder: str) -> str:
        """The membership of a holder who may see tasks now, empty for the school's own. Raises Refusal NOT_FOUND/HOLDER."""
        partner = self.door.registry.find(holder)
        if partner is not None and owns(partner, str(team["school"])):
            return ""
        agency = partner.agency if partner is not None else ""
        for share in active(call.reading, str(team["student"]), agency):
            if share["team"] == team["id"] and partner is not None:
                name = f"shares/{share['id']}"
                mask, _ = self.door.permitted(
                    call.reading, recipient=partner, purpose=int(share["purpose"]), student=str(team["student"]),
                    relation="PARTY", basis=name,
                )  # fmt: skip
                if mask & _MASK_OF_TASKS:
                    return name
        raise Refusal("NOT_FOUND", "HOLDER", "no such member of this team, nor anybody of its school")

    def _task(self, call: Call, name: str, etag: str) -> tuple[RowMapping, RowMapping, Access]:
        row = call.tx.get(tables.tasks, name.removeprefix("tasks/"))
        team = call.tx.get(tables.teams, row["team"]) if row is not None else None
        by = self._access(call, team) if team is not None else None
        if row is None or team is None or by is None or not self._sees_tasks(call, team, by):
            raise Refusal("NOT_FOUND", "TASK", "no such task for this caller")
        check_version(row, etag)
        call.student = str(row["student"])
        return row, team, by

    def _sees_tasks(self, call: Call, team: RowMapping, by: Access) -> bool:
        return bool(mask_of_access(call, str(team["student"]), by)[0] & _MASK_OF_TASKS)

    def _mine(self, call: Call, row: RowMapping, by: Access) -> pb.CareTask:
        """An open task that the caller may act on: its holder, or the school."""
        if row["state"] != OPEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the task is not open any more")
        if not by.own and row["share"] != by.ground:
            raise Refusal("PERMISSION_DENIED", "NOT_YOURS", "only its holder or the school does this")
        return self.tasks.load(row)

    def _done(self, call: Call, row: RowMapping, by: Access, kind: str, reason: str, response: "_TaskResponse") -> None:
        student, record = str(row["student"]), response.task.SerializeToString()
        show(call, response, student, by)
        call.journal(kind, resource=f"tasks/{row['id']}", student=student, reason=reason, payload=record)

    def _team(self, call: Call, row: RowMapping, by: Access, *, tasks: bool = True) -> pb.CareTeam:
        team = self.door.keys.readable(pb.CareTeam, row, table="teams") or pb.CareTeam()
        team.name, team.etag, team.state = f"teams/{row['id']}", str(row["version"]), row["state"]
        team.create_time_us = int(row["created_us"])
        team.student = self.door.students.name(call.caller.agency, str(row["student"]))
        for member in self._members(call.reading, row, by):
            share = self.shares.message(member, call.caller.agency if by.own else "")
            if not by.own and f"shares/{member['id']}" != by.ground:
                # Members know one another, not what each may see or why.
                share = sharing.Share(recipient=share.recipient, role=share.role, state=share.state)
            team.members.append(share)
        if tasks and self._sees_tasks(call, row, by):
            team.tasks.extend(self.tasks.of_team(call.reading, str(row["id"])))
        return team

    @staticmethod
    def _members(tx: ReadTx, row: RowMapping, by: Access) -> list[RowMapping]:
        s = tables.shares.c
        wanted = s.team == row["id"]
        if not by.own:
            wanted = wanted & (s.state == _ACTIVE) & (s.not_after_us > tx.now_us)
        return list(tx.all(tables.shares.select().where(wanted).order_by(s.created_us, s.id)))

    @staticmethod
    def _check_due(call: Call, due_us: int) -> None:
        if not call.tx.now_us < due_us <= call.tx.now_us + _YEAR_US:
            raise Refusal(
                "INVALID_ARGUMENT", "DATE_RANGE", "due_us lies in the past, or more than a year ahead",
                violations=(Violation("due_us", "DATE_RANGE", "send microseconds since 1970 UTC, within a year"),),
            )  # fmt: skip


_TaskResponse = rpc.HandTaskResponse | rpc.ReportTaskResponse
