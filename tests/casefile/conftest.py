"""Words for cases that are shared: plans, entries, shares, care teams, letters."""

from typing import Any

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import mailbox_service_pb2 as mail
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_service_pb2 as team
from xinqiao.contract.clock import local_date

DAY_US = 86_400_000_000
CONTENT: dict[str, dict[str, Any]] = {
    "session": {"theme": "同伴关系", "number": 1, "minutes": 40, "note": "NOTE"},
    "home_visit": {"observed": "家中安静"},
    "grid_visit": {"observed": "祖母照看", "need": "陪同就诊"},
    "phone_call": {"whom": "mother", "result": "愿意见面"},
    "goal": {"text": "每天到校半天", "state": 1},
    "outcome_scale": {"measure": "手机依赖", "before": 8, "now": 5, "unit": "0-10"},
    "attendance": {"first_day": "2026-10-01", "last_day": "2026-10-09", "school_days": 5, "absent_days": 2},
    "hardship": {"kinds": ["left-behind"], "source": "civil-affairs"},
    "support": {"what": "课后陪伴", "provider": "心微光"},
}


class Care:
    """A town with the words of this room."""

    def __init__(self, town: Any) -> None:
        self.town = town

    def student(self, *recipients: str, **more: Any) -> str:
        """Somebody with an open plan and a consent for each recipient's care."""
        local: str = self.town.student(**more)
        self.open(local)
        for recipient in recipients:
            self.town.consent(local, recipient=recipient, purpose=4, classes=[2, 3, 4, 5, 6, 7, 8, 13, 14])
        return local

    def open(self, local: str, *, as_: str | None = None) -> Any:
        request = plan.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE")
        return self.town.call(as_ or self.town.PSYCH, request).plan

    def entry_request(self, ref: Any, kind: str, *, supersedes: str = "", **more: Any) -> Any:
        ref = {"local_id": ref} if isinstance(ref, str) and "/" not in ref else {"name": ref}
        day = local_date(self.town.clock.now_us()).isoformat()
        entry = {"day": day, "supersedes": supersedes, kind: {**CONTENT[kind], **more}}
        return plan.RecordEntryRequest(student=ref, entry=entry)

    def entry(self, ref: Any, kind: str, *, as_: str | None = None, **more: Any) -> Any:
        return self.town.call(as_ or self.town.PSYCH, self.entry_request(ref, kind, **more)).entry

    def share_request(
        self, local: str, recipient: str, *, days: float = 20, purpose: int = 4, classes: Any = (2, 3, 4, 13)
    ) -> Any:  # fmt: skip
        return case.ShareCaseRequest(
            student={"local_id": local}, recipient=recipient, purpose=purpose, classes=list(classes),
            not_after_us=self.town.clock.now_us() + int(days * DAY_US), reason="WEEKLY_VISITS",
        )  # fmt: skip

    def share(self, local: str, recipient: str, **words: Any) -> Any:
        return self.town.call(self.town.PSYCH, self.share_request(local, recipient, **words)).share

    def revoke(self, share: Any) -> Any:
        return self.town.call(self.town.PSYCH, case.RevokeShareRequest(name=share.name, reason="NO_LONGER_NEEDED"))

    def name(self, local: str, agency: str) -> str:
        """The name an agency has for a student."""
        name: str = self.town.gate.gateway.door.students.name(agency, self.town.inside_id(local))
        return name

    def case(self, who: str, local: str, **words: Any) -> Any:
        own = who in (self.town.PSYCH, self.town.SCHOOL)
        ref = {"local_id": local} if own else {"name": self.name(local, self.agency(who))}
        return self.town.call(who, case.GetCaseRequest(student=ref, **words))

    def agency(self, who: str) -> str:
        agency: str = self.town.gate.gateway.registry.find(who).agency
        return agency

    def team(self, local: str, **members: int) -> tuple[Any, dict[str, Any]]:
        """A team, and the membership of each partner (underscores for hyphens) by its role."""
        made = self.town.call(self.town.PSYCH, team.OpenTeamRequest(student={"local_id": local})).team
        return made, {name: self.add(made, name.replace("_", "-"), role) for name, role in members.items()}

    def member_request(self, made: Any, recipient: str, role: int, *, days: float = 20) -> Any:
        until = self.town.clock.now_us() + int(days * DAY_US)
        return team.AddMemberRequest(team=made.name, recipient=recipient, role=role, not_after_us=until, reason="TEAM")

    def add(self, made: Any, recipient: str, role: int, **words: Any) -> Any:
        return self.town.call(self.town.PSYCH, self.member_request(made, recipient, role, **words)).member

    def task(self, made: Any, holder: str, *, days: float = 3) -> Any:
        due = self.town.clock.now_us() + int(days * DAY_US)
        request = team.AssignTaskRequest(team=made.name, holder=holder, due_us=due, what="每周上门，问问睡眠")
        return self.town.call(self.town.PSYCH, request).task

    def letter(self, local: str, text: str = "我最近总是睡不好") -> Any:
        return self.town.call(self.town.SCHOOL, mail.WriteLetterRequest(student={"local_id": local}, text=text))


@pytest.fixture
def care(town: Any) -> Care:
    """On each database."""
    return Care(town)


@pytest.fixture
def fresh_care(fresh_town: Any) -> Care:
    """With a clock of its own."""
    return Care(fresh_town)
