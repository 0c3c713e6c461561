"""Random histories of referrals on a real gateway, with crashes, repeats and disorder: does anything ever lie unheld?

One engine for the property test (hypothesis drives its random numbers) and for ``make replay`` (a seed does).
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message
from pydantic import BaseModel

from xinqiao.adapters.errors import PartnerUnavailable, RecordRejected
from xinqiao.adapters.host import AdapterHost
from xinqiao.adapters.manifest import load_manifest
from xinqiao.adapters.protocols import AdapterKind
from xinqiao.api.adapter.v1.adapter_service_pb2 import (
    CapacityRequest,
    CapacityResponse,
    DeliverRequest,
    DeliverResponse,
)
from xinqiao.api.casefile.v1 import casefile_pb2 as case
from xinqiao.api.casefile.v1 import casefile_service_pb2 as casefile
from xinqiao.api.casefile.v1.casefile_pb2 import Consent
from xinqiao.api.casefile.v1.consent_pb2 import CONSENT_CHANNEL_PAPER
from xinqiao.api.common.v1.options_pb2 import PURPOSE_TREATMENT
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.referral.v1.notice_pb2 import DOCUMENT_KIND_CONSENT
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.referral.states import FINAL, STEPS
from xinqiao.store import tables
from xinqiao.testing.gateway import TemporaryGateway, make_deployment

SCHOOL: Final = "kunshan-no1-middle"
PSYCHOLOGIST: Final = "psych-chen"
HOSPITALS: Final = ("kunshan-mental-health", "second-hospital")
_CODE: Final = "3205830001"
_CONSENTED: Final[tuple[Any, ...]] = (2, 3, 4, 5, 6, 7, 8, 11, 12, 14)
_CLASSES: Final = (
    "CASE_REF, IDENTITY, CONTACT, SCHOOL, TIER, SCORES, REFERRAL_REASON, CRISIS_FACT, LOCATION, CONSENT_EVIDENCE"
)
_MANIFEST: Final = f"""domain: ward
api: 1
names: {{zh: 病房, en: Ward}}
partner_kind: hospital
capabilities: [check, capacity, deliver]
contracts:
  written:
    - {{contract: referral, classes: [{_CLASSES}]}}
    - {{contract: referral_update, classes: [CASE_REF, REFERRAL_REASON]}}
hosts: none
legal_bases: [consent, life-safety]
"""
_EVENTS: Final = tuple(each for each in pb.ReferralEvent.values() if each)
_DISK: Final = ("records.db", "keys.db", "pki/journal.heads")  # the databases, and what the signer remembers
_WAITS: Final = (5, 30, 90, 1800, 14_400, 86_400, 172_800, 345_600)
"""Seconds: from a look at the crisis lane to a long weekend."""

_RARE: Final = (pb.REFERRAL_EVENT_HOLD, pb.REFERRAL_EVENT_ASK_RECALL, pb.REFERRAL_EVENT_CANCEL)
_RED, _ORANGE, _YELLOW = 4, 3, 2


class Killed(Exception):
    """The process died in the middle of a transaction."""


class _None(BaseModel):
    """No settings."""


class Ward:
    """Every hospital's system, as unreliable as the history wants: it takes, is down, refuses, or takes and says nothing."""

    def __init__(self) -> None:
        self.mood = "well"
        self.capacity = 1
        self.received: Counter[str] = Counter()

    def host(self, folder: Path) -> AdapterHost:
        """The one kind of adapter of this town."""
        ward = self

        class Adapter:
            def __init__(self, settings: _None, context: Any) -> None:
                del settings, context

            def check(self) -> str:
                return "ward"

            def capacity(self, request: CapacityRequest, timeout_s: float) -> CapacityResponse:
                del request, timeout_s
                if ward.mood == "down":
                    raise PartnerUnavailable("down")
                answer: Any = ward.capacity  # drawn beforehand: hospitals are asked side by side, in no fixed order
                return CapacityResponse(capacity=answer)

            def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
                del timeout_s
                if ward.mood == "down":
                    raise PartnerUnavailable("down")
                if ward.mood == "refusing":
                    raise RecordRejected("DATA/REFUSED", "not this one", "referral")
                ward.received[request.request_id] += 1
                if ward.mood == "mute":
                    raise PartnerUnavailable("taken, but the answer was lost")
                return DeliverResponse(receipt=f"r-{request.request_id}"[:200])

            def close(self) -> None:
                pass

        path = folder / "ward.yaml"
        path.write_text(_MANIFEST, "utf-8")
        no_simulator: Any = None
        kind = AdapterKind("ward", _None, Adapter, lambda settings: [], no_simulator)
        return AdapterHost({"ward": kind}, {"ward": load_manifest(path)}, {})


class Histories:
    """A town that lives by chance. After every step ``violations`` holds what broke the promise, empty for ever."""

    def __init__(self, folder: Path, example: Path, luck: random.Random, **database: str | None) -> None:
        """``database``: ``url`` and ``keys_url`` where it is not to be SQLite files in ``folder``."""
        self.luck = luck
        self.clock = ManualClock(datetime(2026, 9, 1, 0, 0, tzinfo=UTC))
        self.ward = Ward()
        self.violations: list[str] = []
        self.done: Counter[str] = Counter()
        self._files = [] if database.get("url") else [folder / name for name in _DISK]
        self._keys = 0
        self._known: dict[str, int] = {}  # acknowledged to somebody: name -> version last answered
        self._late: list[Callable[[], str]] = []
        self._students: list[str] = []
        config = make_deployment(folder, example, change=_settings, **database)
        self._gate = TemporaryGateway(config, host=self.ward.host(folder), clock=self.clock)
        self._gate.start(listen=False, work=False)
        self._kill = False

    def close(self) -> None:
        """Stop the gateway."""
        self._gate.stop()

    @property
    def gateway(self) -> Any:
        """The running gateway."""
        return self._gate.gateway

    # -- one step ---------------------------------------------------------------------------------------------------

    def step(self) -> str:
        """Do one thing that can happen, then look at every referral; what was done."""
        action = self.luck.choices(
            (self.case, self.event, self.late, self.carry, self.tick, self.wait, self.weather, self.crash),
            (8, 42, 8, 18, 10, 16, 4, 0.5),
        )[0]
        self._kill = self.luck.random() < 0.03
        try:
            word = action()
        except Killed:
            self.done["killed in a transaction"] += 1
            word = "killed"
            if self.luck.random() < 0.2:
                self.crash()
        finally:
            self._kill = False
        self.done[word] += 1
        self.look()
        return word

    def case(self) -> str:
        """A new case: a signal, a person's word, and a referral of some kind, or a draft of one."""
        if len(self._students) < 40:
            self._students.append(self._student())
        student: Any = {"local_id": self.luck.choice(self._students)}
        words: Any = {"source": 2, "kind": 1, "facts": "facts", "student": student}
        raised: Any = self._call(PSYCHOLOGIST, screening.ReportSignalRequest(**words))
        emergency = self.luck.random() < 0.3
        if not emergency or self.luck.random() < 0.5:
            tier: Any = self.luck.choice((_RED, _RED, _ORANGE, _YELLOW))
            self._call(PSYCHOLOGIST, screening.ConfirmTierRequest(name=raised.triage.name, tier=tier, note="n"))
        self.ward.capacity = self.luck.choice((0, 1, 1, 2, 3, 4))
        order = self.luck.sample(HOSPITALS, 2)
        urgency: Any = 3 if emergency else self.luck.choice((1, 2))
        request = rpc.CreateReferralRequest(
            request_id=self._key(), triage=raised.triage.name, urgency=urgency, reason="r", crisis_facts="facts",
            recipient=order[0] if self.luck.random() < 0.5 else "", recipients=order,
            basis="life-safety" if self.luck.random() < 0.3 else "", draft=self.luck.random() < 0.15, student=student,
        )  # fmt: skip

        def do() -> str:
            made: Any = self._call(PSYCHOLOGIST, request)
            self._remember(made.referral)
            return "draft" if request.draft else "referral"

        word = self._try(do)
        if self.luck.random() < 0.3:
            self._try(do)  # the same request once more
            self.done["repeated"] += 1
        return word

    def event(self) -> str:
        """Something happens to a referral, by either side, mostly what can happen, at times twice, at times too late."""
        rows = sorted(self._rows(tables.referrals), key=lambda row: row["created_us"])  # ids differ from run to run
        if not rows:
            return "nothing"
        open_rows = [row for row in rows if row["state"] not in FINAL] or rows
        row = self.luck.choice(open_rows if self.luck.random() < 0.95 else rows)
        side = self.luck.choice(("sender", "recipient"))
        can = [s.event for s in STEPS if row["state"] in s.sources and side in s.side]
        likely = [each for each in can if each not in _RARE or self.luck.random() < 0.2]
        event = self.luck.choice(likely if likely and self.luck.random() < 0.9 else _EVENTS)
        who = PSYCHOLOGIST if side == "sender" else str(row["recipient"]) or HOSPITALS[0]
        request = self._event_request(f"referrals/{row['id']}", event)

        def do() -> str:
            answer: Any = self._call(who, request)
            self._remember(answer.referral)
            return pb.ReferralEvent.Name(pb.ReferralEvent.ValueType(event)).removeprefix("REFERRAL_EVENT_").lower()

        if self.luck.random() < 0.15:
            self._late.append(do)  # the partner's update is on its way, and others overtake it
            return "update on its way"
        word = self._try(do)
        if self.luck.random() < 0.2:
            self._try(do)  # the same update once more
            self.done["repeated"] += 1
        return word

    def late(self) -> str:
        """An update that others have overtaken arrives."""
        if not self._late:
            return "nothing"
        return self._try(self._late.pop(self.luck.randrange(len(self._late)))) + " (late)"

    def carry(self) -> str:
        """The workers carry what is due."""
        for lane in (2, 1, 1):
            self.gateway.delivery.deliver_one(lane, f"worker-{self._key()}")
        return "carried"

    def tick(self) -> str:
        """The clock ticks, at times on two nodes at once."""
        for _ in range(self.luck.choice((1, 1, 2))):
            self.gateway.ladder.climb()
        if late := [r["item"] for r in self._rows(tables.holdings) if r["deadline_us"] < self.clock.now_us()]:
            self.violations.append(f"{late[0]}: overdue and nothing happened")
        return "tick"

    def wait(self) -> str:
        """Time passes."""
        self.clock.advance(timedelta(seconds=self.luck.choice(_WAITS)))
        self.gateway.checkpointer.tick()
        return "time passed"

    def weather(self) -> str:
        """The hospitals' systems change their mood."""
        self.ward.mood = self.luck.choice(("well", "well", "well", "down", "refusing", "mute"))
        return f"hospital {self.ward.mood}"

    def crash(self) -> str:
        """The machine dies now and starts again on the database as it was at this moment."""
        images = [(file, file.with_name(f"{file.name}.crash")) for base in self._files for file in _parts(base)]
        for file, image in images:
            shutil.copy(file, image)
        self._gate.stop()
        for base in self._files:
            for file in _parts(base):
                file.unlink()
        for file, image in images:  # whatever the orderly end did is undone: only the crash remains
            shutil.move(image, file)
        self._gate.start(listen=False, work=False)
        return "crash and restart"

    # -- the promise ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Every open referral has exactly one holder and one next deadline, every final one none; nothing is lost."""
        held = Counter(str(row["item"]) for row in self._rows(tables.holdings))
        good = {str(row["item"]) for row in self._rows(tables.holdings) if row["holder"] and row["deadline_us"] > 0}
        rows = {f"referrals/{row['id']}": row for row in self._rows(tables.referrals)}
        for name, row in rows.items():
            wanted = 0 if row["state"] in FINAL else 1
            if held[name] != wanted or (wanted and name not in good):
                self.violations.append(f"{name}: {held[name]} holdings in state {row['state']}")
        for item in held:
            if item.startswith("referrals/") and item not in rows:
                self.violations.append(f"{item}: held, but there is no such referral")
        for name, version in self._known.items():
            if name not in rows or int(rows[name]["version"]) < version:
                self.violations.append(f"{name}: acknowledged as version {version}, lost")

    def summary(self) -> dict[str, int]:
        """Referrals by state at the end, and what happened."""
        names = Counter(
            pb.ReferralState.Name(row["state"]).removeprefix("REFERRAL_STATE_").lower()
            for row in self._rows(tables.referrals)
        )
        return dict(sorted(names.items()))

    def told(self) -> dict[str, int]:
        """How often the journal tells of escalations and of the crisis lane's fallbacks."""
        kinds = Counter(str(row["kind"]) for row in self._rows(tables.journal))
        return {kind: kinds[kind] for kind in ("referral.created", "escalated", "crisis.channel", "crisis.phone")}

    # -- shared -----------------------------------------------------------------------------------------------------

    def _student(self) -> str:
        local = f"s{len(self._students) + 1}"
        register = casefile.RegisterStudentsRequest()
        register.students.add(local_id=local, family_name="学", given_name="生", birth_date="2011-05-04", school=_CODE)
        self._call(SCHOOL, register)
        for hospital in HOSPITALS:
            if self.luck.random() < 0.8:
                request = casefile.RecordConsentRequest()
                request.student.local_id = local
                request.consent.recipient, request.consent.purpose = hospital, PURPOSE_TREATMENT
                request.consent.classes.extend(_CONSENTED)
                request.consent.not_after_us = self.clock.now_us() + int(timedelta(days=360).total_seconds() * 1e6)
                request.consent.signer, request.consent.state = case.SIGNER_BOTH, case.CONSENT_STATE_GIVEN
                self._prove(request.consent)
                self._call(PSYCHOLOGIST, request)
        return local

    def _prove(self, consent: Consent) -> None:
        forms = self.gateway.forms
        assert forms is not None
        ((_, version), digest), *_ = (each for each in forms.versions.items() if each[0][0] == DOCUMENT_KIND_CONSENT)
        consent.form_version, consent.evidence_sha256 = version, bytes(32)
        consent.evidence.form_sha256, consent.evidence.text_sha256 = digest, bytes(32)
        consent.evidence.channel, consent.evidence.witness = CONSENT_CHANNEL_PAPER, "w"
        consent.evidence.guardian_name, consent.evidence.guardian_relation = "学母", "mother"

    def _event_request(self, name: str, event: int) -> Message:
        if event == pb.REFERRAL_EVENT_REPORT_OUTCOME:
            outcome = pb.Outcome(diagnosis="d", treatment="t", fitness=pb.FITNESS_ATTEND, school_advice="a")
            return rpc.ReportOutcomeRequest(request_id=self._key(), name=name, outcome=outcome)
        code = self.luck.choice(("already-in-care", "already-in-care", "no-capacity", ""))
        return rpc.AdvanceReferralRequest(
            request_id=self._key(), name=name, event=pb.ReferralEvent.ValueType(event),
            reason=self.luck.choice(("why", "why", "why", "")), reason_code=code,
            recipient=self.luck.choice(("", *HOSPITALS)),
        )  # fmt: skip

    def _try(self, do: Callable[[], str]) -> str:
        try:
            return do()
        except Refusal as refusal:
            return f"refused {refusal.reason}"

    def _remember(self, referral: pb.Referral) -> None:
        self._known[referral.name] = max(self._known.get(referral.name, 0), int(referral.etag or 0))

    def _rows(self, table: Any) -> list[Any]:
        with self.gateway.store.read() as reading:
            return list(reading.all(table.select()))

    def _key(self) -> str:
        self._keys += 1
        return f"history-{self._keys:08d}"

    def _call(self, partner: str, request: Any) -> Any:
        """A call as a partner, killed in its transaction when the history says so: everything written, nothing kept."""
        if not request.request_id:
            request.request_id = self._key()
        self.clock.advance(timedelta(milliseconds=1))
        pipeline = self.gateway.pipeline
        if not self._kill:
            return self._gate.call_inside(partner, request)
        self._kill = False
        mutation = pipeline.mutation

        def dying(*arguments: Any) -> Callable[[Any], bytes]:
            command = mutation(*arguments)

            def run(tx: Any) -> bytes:
                command(tx)
                raise Killed

            return run

        pipeline.mutation = dying
        try:
            return self._gate.call_inside(partner, request)
        finally:
            with suppress(AttributeError):
                del pipeline.mutation


def _parts(base: Path) -> list[Path]:
    return [file for end in ("", "-wal") if (file := base.with_name(base.name + end)).exists()]


def _settings(settings: dict[str, Any]) -> None:
    first = settings["partners"][HOSPITALS[0]]
    settings["partners"][HOSPITALS[1]] = {
        "kind": "hospital", "names": {"zh": "第二医院", "en": "Second hospital"}, "roles": ["HOSPITAL"],
        "spiffe": f"spiffe://xinqiao.example/partner/{HOSPITALS[1]}",
        "agreement": {name: str(value) for name, value in first["agreement"].items()},
    }  # fmt: skip
    settings["adapters"] = {name: {"adapter": "ward", "settings": {}} for name in HOSPITALS}
