"""What the people of the simulated hospital do with the Tasks they are given."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xinqiao.api.casefile.v1.consent_pb2 import RecallAction, RecallReceipt
from xinqiao.contract.clock import BEIJING, Clock, from_us
from xinqiao.contract.recall import sign_receipt
from xinqiao_hospital import codes
from xinqiao_hospital.recall import is_recall, outputs
from xinqiao_hospital.records import FhirRefused, Records
from xinqiao_hospital.shapes import Issue
from xinqiao_hospital.wire import Json, as_list, as_object, as_text

OUTCOME: Mapping[str, str] = {
    "diagnosis": "中度抑郁发作",
    "treatment": "门诊治疗：每周一次认知行为治疗，舍曲林 25 mg 每日一次，两周后复诊评估",
    "fitness": "attend-with-adjustments",
    "school-advice": "可以上学；一个月内免早晚自习和体育考核，由心理教师每周谈话一次，情绪明显变化时立即联系监护人和医院",
    "care-advice": "家中保管好药品和锐器，每天陪伴用餐，关注睡眠，按时复诊",
}
"""A plausible outcome; ``next-visit`` is two weeks from the hospital's today."""

# Step: the Task's status and business code after it, and the business codes (or statuses) it may follow.
_STEPS: dict[str, tuple[str, str, frozenset[str]]] = {
    "accept": ("accepted", "3.0", frozenset({"2.0"})),
    "decline": ("rejected", "4.0", frozenset({"2.0"})),
    "waitlist": ("accepted", "waitlisted", frozenset({"3.0"})),
    "schedule": ("in-progress", "5.1.1", frozenset({"3.0", "waitlisted", "5.1.2", "5.1.3"})),
    "no_show": ("in-progress", "5.1.2", frozenset({"5.1.1"})),
    "attend": ("in-progress", "5.1.4", frozenset({"5.1.1"})),
    "outcome": ("completed", "7.0", frozenset({"3.0", "5.1.1", "5.1.4"})),
    "hold": ("on-hold", "", frozenset({"2.0", "3.0", "waitlisted", "5.1.1", "5.1.2", "5.1.4"})),
    "resume": ("in-progress", "", frozenset({"3.0", "waitlisted", "5.1.1", "5.1.2", "5.1.4"})),
}
_REASON = {"decline": "本院暂无儿童青少年精神科床位，请转市精神卫生中心", "hold": "监护人要求推迟"}


class Staff:
    """Moves Tasks forward; a step that does not fit a Task leaves it as it is."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self.autopilot: tuple[str, ...] = ()

    def act(
        self,
        task: str,
        step: str,
        *,
        reason: str = "",
        appointment_us: int = 0,
        outcome: Mapping[str, str] | None = None,
    ) -> bool:
        """Do one step (``accept``, ``schedule``, ...) on ``Task/{id}`` or a ``referrals/{id}``; False if it does not fit.

        Raises FhirRefused where there is no such Task.
        """
        if step not in _STEPS:
            raise FhirRefused(400, Issue("not-supported", "Task"))
        done = False

        def edit(current: Json) -> Json:
            nonlocal done
            if not _fits(current, step):
                return current
            done = True
            status, business, _ = _STEPS[step]
            changed: Json = {**current, "status": status}
            if business:
                system = codes.BUSINESS_STATUS if business in codes.BUSINESS_STATUS_DISPLAY else codes.WAITLIST
                shown = codes.BUSINESS_STATUS_DISPLAY.get(business, business)
                changed["businessStatus"] = {"coding": [{"system": system, "code": business, "display": shown}]}
            changed.pop("statusReason", None)
            if reason or step in _REASON:
                changed["statusReason"] = {"text": reason or _REASON[step]}
            changed["output"] = [*as_list(current.get("output")), *self._outputs(step, appointment_us, outcome)]
            if not changed["output"]:
                del changed["output"]
            return changed

        id_ = self._id(task)
        if _fits(self._records.read("Task", id_), step):
            self._records.change("Task", id_, edit)
        return done

    def act_on_all(self, step: str) -> int:
        """Do one step on every Task that it fits; how many there were."""
        return sum(self.act(f"Task/{task['id']}", step) for task in self._records.all("Task"))

    def fly(self, tasks: Sequence[str]) -> None:
        """Do the autopilot's steps on Tasks just come in."""
        for task in tasks:
            for step in self.autopilot:
                self.act(task, step)

    def answer_recalls(self, key: Ed25519PrivateKey, action: RecallAction.ValueType) -> int:
        """Do as every open recall asks, and sign that it was done; how many there were."""
        tasks = [t for t in self._records.all("Task") if is_recall(t) and t["status"] == "requested"]
        for task in tasks:
            now_us = self._clock.now_us()
            (name,) = (as_text(as_object(item).get("value")) for item in as_list(task.get("identifier")))
            law = "医疗机构病历管理规定 第二十九条" if action == RecallAction.RECALL_ACTION_KEPT_BY_LAW else ""
            receipt = RecallReceipt(recall=name, action=action, citation=law, done_us=now_us)
            owner = as_text(as_object(as_object(task.get("owner")).get("identifier")).get("value"))
            answer = outputs(sign_receipt(receipt, key), owner, now_us)
            self._records.change("Task", str(task["id"]), partial(_completed, answer))
        return len(tasks)

    def _id(self, task: str) -> str:
        for found in self._records.all("Task"):
            names = {str(as_object(item).get("value")) for item in as_list(found.get("identifier"))}
            if task == f"Task/{found['id']}" or task in names:
                return str(found["id"])
        raise FhirRefused(404, Issue("not-found", "Task"))

    def _outputs(self, step: str, appointment_us: int, outcome: Mapping[str, str] | None) -> list[Json]:
        now = from_us(self._clock.now_us()).astimezone(BEIJING)
        if step == "schedule":
            tomorrow = (now + timedelta(days=1)).replace(hour=9, minute=30, second=0, microsecond=0)
            when = from_us(appointment_us).astimezone(BEIJING) if appointment_us else tomorrow
            return [_output("appointment", {"valueDateTime": when.isoformat()})]
        if step != "outcome":
            return []
        said = dict(outcome if outcome is not None else OUTCOME)
        if outcome is None:
            said["next-visit"] = (now + timedelta(days=14)).date().isoformat()
        return [_output(code, _value(code, text)) for code, text in said.items()]


def _completed(answer: list[Json], task: Json) -> Json:
    return {**task, "status": "completed", "output": answer}


def _fits(task: Json, step: str) -> bool:
    if task["status"] in {"completed", "rejected", "cancelled", "failed", "entered-in-error"}:
        return False
    held = task["status"] == "on-hold"
    codings = as_list(as_object(task.get("businessStatus")).get("coding"))
    code = as_object(codings[0]).get("code") if codings else ""
    return held == (step == "resume") and code in _STEPS[step][2]


def _output(code: str, value: Json) -> Json:
    return {"type": {"coding": [{"system": codes.OUTPUT, "code": code}]}, **value}


def _value(code: str, text: str) -> Json:
    if code == "diagnosis":
        return {"valueCodeableConcept": {"text": text}}
    if code == "fitness":
        return {"valueCodeableConcept": {"coding": [{"system": codes.FITNESS, "code": text}]}}
    return {"valueDate": text} if code == "next-visit" else {"valueString": text}
