"""Disclosures under a law that a second person must approve within a day (四眼原则); undecided they climb the ladder."""

from xinqiao.api.casefile.v1.consent_pb2 import OVERRIDE_STATE_PENDING, Override
from xinqiao.api.common.v1.options_pb2 import FieldClass, Purpose
from xinqiao.contract.fields import classes_of
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Registry
from xinqiao.disclosure.seconds import seconds
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.holdings import hold
from xinqiao.store.ids import new_id
from xinqiao.store.tx import Tx

_DAY_US = 86_400_000_000


def open_override(
    tx: Tx, door: Door, *, student: str, school: str, basis: str, actor: str, recipient: str, purpose: int, facts: str,
    classes: int, duty: str, tier: int,
) -> Override:  # fmt: skip
    """Record who was shown what under which law, and hold it for another person than ``actor`` for 24 hours."""
    found, identifier = door.bases[basis], new_id(tx.now_us)
    override = Override(
        actor=actor, recipient=recipient, basis=basis, basis_version=found.version,
        citation_zh=found.citation.get("zh", ""), citation_en=found.citation.get("en", ""),
        purpose=Purpose.ValueType(purpose), facts=facts, due_us=tx.now_us + _DAY_US, state=OVERRIDE_STATE_PENDING,
        classes=[FieldClass.ValueType(each) for each in classes_of(classes)], create_time_us=tx.now_us, duty=duty,
    )  # fmt: skip
    record = override.SerializeToString()
    tx.insert(
        tables.overrides, identifier, student, school, actor, recipient, basis, int(override.state), override.due_us,
        tx.now_us, tx.now_us, 1, door.keys.sealer(student).seal(record, table="overrides", key=identifier),
    )  # fmt: skip
    override.name = f"overrides/{identifier}"
    hold(
        tx, override.name, kind="override", school=school, holder=_second_person(door.registry, school, actor),
        deadline_us=override.due_us, step="approve", tier=tier, student=student,
    )  # fmt: skip
    append(
        tx, kind="override.opened", decision="permit", actor=actor, partner=recipient, purpose=purpose, classes=classes,
        student=student, resource=override.name, basis=basis, policy_version=door.policy.version, payload=record,
        sealer=door.keys.sealer(student),
    )  # fmt: skip
    return override


def _second_person(registry: Registry, school: str, actor: str) -> str:
    """Who decides: the person on duty, else another psychologist of the school, else an operator; never ``actor``."""
    asked = (registry.holder(school), *seconds(registry, school, actor), "operator")
    return next(each for each in asked if each != actor)
