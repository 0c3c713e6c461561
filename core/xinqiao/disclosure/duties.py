"""Who must be told, with a holder and a deadline: guardians of a disclosure (PIPL art. 18) and of a red case, police
after abuse."""

import hashlib
import secrets

from xinqiao.api.casefile.v1.casefile_pb2 import DUTY_STATE_OPEN, Duty
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.guardians import reachable
from xinqiao.disclosure.overrides import open_override
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.holdings import hold
from xinqiao.store.tx import Tx

_HOUR_US = 3_600_000_000


def tell_guardian(
    tx: Tx, door: Door, *, student: str, school: str, triage: str, holder: str, deadline_us: int, tier: int
) -> None:
    """Open the step of telling a guardian of a red case, once a triage, with its own holder and deadline.

    A guardian in conflict with the student is never among those to be told; with nobody left the step is held all the
    same, and a person finds another way, such as the women's federation.
    """
    identifier = hashlib.sha256(f"tell-guardian/{triage}".encode()).hexdigest()[:32]
    contacts = reachable(door.students.load(tx, student, "").guardians)
    duty = Duty(
        kind="tell-guardian", item=triage, due_us=deadline_us, state=DUTY_STATE_OPEN, contacts=contacts, tell="GUARDIAN"
    )
    sealed = door.keys.sealer(student).seal(duty.SerializeToString(), table="duties", key=identifier)
    if not tx.insert_if_absent(
        tables.duties, identifier, student, school, duty.kind, int(duty.state), "", tx.now_us, tx.now_us, 1, sealed
    ):
        return
    name = f"duties/{identifier}"
    hold(
        tx, name, kind="duty", school=school, holder=holder, deadline_us=deadline_us, step="guardian", tier=tier,
        student=student,
    )  # fmt: skip
    append(
        tx, kind="duty.opened", decision="permit", actor=holder, student=student, resource=name, reason=duty.kind,
        policy_version=door.policy.version,
    )  # fmt: skip


def open_duty(
    tx: Tx,
    door: Door,
    *,
    student: str,
    school: str,
    basis: str,
    item: str,
    holder: str,
    tier: int,
    kind: str = "notify-guardian",
    tell: str = "GUARDIAN",
    within_us: int = 0,
    actor: str = "",
    recipient: str = "",
    purpose: int = 0,
    facts: str = "",
) -> str:
    """Open a duty under a legal basis, due ``within_us`` or within the basis' own hours; returns `duties/{id}`.

    Where guardians are to be told, one in conflict with the student is never among the contacts. ``recipient`` is who
    was shown something under the basis, by whom (``actor``), for what and why: where the basis needs an approver, a
    second person must decide on it.
    """
    identifier = secrets.token_hex(16)
    due_us = tx.now_us + (within_us or door.bases[basis].notice_hours * _HOUR_US)
    cited = door.bases[basis].citation
    duty = Duty(
        kind=kind, basis=basis, item=item, due_us=due_us, state=DUTY_STATE_OPEN, tell=tell,
        citation_zh=cited.get("zh", ""), citation_en=cited.get("en", ""),
        contacts=reachable(door.students.load(tx, student, "").guardians) if tell == "GUARDIAN" else [],
    )  # fmt: skip
    sealed = door.keys.sealer(student).seal(duty.SerializeToString(), table="duties", key=identifier)
    tx.insert(
        tables.duties, identifier, student, school, duty.kind, int(duty.state), basis, tx.now_us, tx.now_us, 1, sealed
    )
    name = f"duties/{identifier}"
    hold(
        tx, name, kind="duty", school=school, holder=holder, deadline_us=due_us, step="notify", tier=tier,
        student=student,
    )  # fmt: skip
    append(
        tx, kind="duty.opened", decision="permit", actor=holder, student=student, resource=name, reason=duty.kind,
        basis=basis, policy_version=door.policy.version,
    )  # fmt: skip
    if recipient and door.bases[basis].needs_approver:
        open_override(
            tx, door, student=student, school=school, basis=basis, actor=actor, recipient=recipient, purpose=purpose,
            facts=facts, classes=door.bases[basis].classes, duty=name, tier=tier,
        )  # fmt: skip
    return name
