"""A small town for tests: a gateway on a real store, partners of every role, and the words to act as them."""

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pydantic import BaseModel
from sqlalchemy import create_engine, make_url

from xinqiao.adapters.errors import PartnerUnavailable, RecordRejected
from xinqiao.adapters.host import AdapterHost
from xinqiao.adapters.manifest import load_manifest
from xinqiao.adapters.protocols import AdapterKind
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse
from xinqiao.api.casefile.v1 import casefile_pb2 as case
from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.casefile.v1 import consent_pb2 as consent_pb
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc
from xinqiao.api.screening.v1 import screening_service_pb2 as scr_rpc
from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.server.intake import Intake
from xinqiao.store import tables
from xinqiao.testing.gateway import TemporaryGateway, make_deployment
from xinqiao.testing.pytest_plugin import DATABASES

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "config" / "gateway.example.yaml"
CONSENT_FORM = hashlib.sha256((ROOT / "config" / "documents" / "consent.yaml").read_bytes()).digest()
START = datetime(2026, 10, 12, 1, 0, tzinfo=UTC)
SCHOOL, PSYCH, HOSPITAL, OPERATOR = "kunshan-no1-middle", "psych-chen", "kunshan-mental-health", "bureau-admin"
ALL_HOSPITAL = (
    "CASE_REF, IDENTITY, CONTACT, SCHOOL, TIER, SCORES, REFERRAL_REASON, CRISIS_FACT, LOCATION, CONSENT_EVIDENCE"
)
ALL_SCHOOL = "CASE_REF, SCHOOL, DIAGNOSIS, TREATMENT, TIER"
_counter = itertools.count(1)
_keys = itertools.count(1)


def _partner(name: str, roles: list[str], *, valid_to: str = "2028-12-31", **more: Any) -> dict[str, Any]:
    return {
        "kind": "other", "names": {"zh": name, "en": name}, "roles": roles,
        "spiffe": f"spiffe://xinqiao.example/partner/{name}",
        "agreement": {"number": "T-1", "valid_from": "2026-01-01", "valid_to": valid_to}, **more,
    }  # fmt: skip


def _more_partners() -> dict[str, Any]:
    return {
        "other-school": _partner("other-school", ["SCHOOL_PLATFORM"], schools=["3205830002"]),
        "psych-li": _partner("psych-li", ["SCHOOL_PSYCHOLOGIST"], schools=["3205830002"], agency="other-school"),
        "other-hospital": _partner("other-hospital", ["HOSPITAL"]),
        "lapsed-hospital": _partner("lapsed-hospital", ["HOSPITAL"], valid_to="2026-02-01"),
        "police": _partner("police", ["POLICE"]),
        "grid": _partner("grid", ["GRID"]),
        "womens-federation": _partner("womens-federation", ["WOMENS_FEDERATION"]),
        "hotline": _partner("hotline", ["HOTLINE"]),
        "social-work": _partner("social-work", ["SOCIAL_WORK"]),
        "worker-lu": _partner("worker-lu", ["SOCIAL_WORK"], schools=["3205830001"], agency="social-work"),
        "volunteers": _partner("volunteers", ["VOLUNTEER"]),
        "youth-league": _partner("youth-league", ["YOUTH_LEAGUE"]),
        "family": _partner("family", ["FAMILY"]),
    }


def overlay(settings: dict[str, Any], folder: Path, *, cadence: str | None = None, calendar: str | None = None) -> None:
    """Give the district of ``settings`` expected reports: the shipped ones and calendar, or these texts."""
    config = ROOT / "config"
    files = {"cadence": config / "cadence" / "default.yaml", "calendar": config / "calendars" / "320583.yaml"}
    for name, text in (("cadence", cadence), ("calendar", calendar)):
        if text is not None:
            files[name] = folder / f"{name}.yaml"
            files[name].write_text(text, "utf-8")
    path = folder / "district.yaml"
    path.write_text(
        f'version: 1\ndistrict: "320583"\ncadence: {files["cadence"]}\ncalendar: {files["calendar"]}\n', "utf-8"
    )
    settings["district_overlay"] = str(path)


class NoSettings(BaseModel):
    """The recorder has none."""


@dataclass
class Recorder:
    """The partner side of every agency: what arrived, in order; ``down`` makes it unreachable, ``refusing`` picky,
    ``before`` acts first."""

    seen: list[tuple[str, DeliverRequest]] = field(default_factory=list)
    down: bool = False
    refusing: bool = False
    before: Callable[[DeliverRequest], None] | None = None

    def kinds(self, folder: Path) -> AdapterHost:
        recorder = self

        class Adapter:
            def __init__(self, settings: NoSettings, context: Any) -> None:
                self.agency = context.agency

            def check(self) -> str:
                return "recorder"

            def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
                if recorder.down:
                    raise PartnerUnavailable("down")
                if recorder.before is not None:
                    recorder.before(request)
                if recorder.refusing:
                    raise RecordRejected("DATA/REFUSED", "not this one", "referral")
                recorder.seen.append((self.agency, request))
                return DeliverResponse(receipt=f"r-{len(recorder.seen)}")

            def close(self) -> None:
                pass

        kinds, manifests = {}, {}
        for name, contracts in (
            (
                "recorder_hospital",
                {"referral": ALL_HOSPITAL, "referral_update": "CASE_REF, REFERRAL_REASON", "recall": "CASE_REF"},
            ),
            ("recorder_school", {"referral_update": ALL_SCHOOL}),
            (
                "recorder_partner",
                dict.fromkeys(
                    (
                        "referral",
                        "referral_update",
                        "task",
                        "police_report",
                        "recall",
                        "signal_update",
                        "call_hand_off",
                    ),
                    f"{ALL_HOSPITAL}, CARE_TASK",
                ),
            ),
        ):
            written = "".join(f"    - {{contract: {c}, classes: [{m}]}}\n" for c, m in contracts.items())
            path = folder / f"{name}.yaml"
            path.write_text(
                f"domain: {name}\nnames: {{zh: 记录, en: Recorder}}\npartner_kind: other\n"
                f"capabilities: [check, deliver]\ncontracts:\n  written:\n{written}hosts: none\n"
                "legal_bases: [consent]\napi: 1\n",
                "utf-8",
            )
            manifests[name] = load_manifest(path)
            kinds[name] = AdapterKind(name, NoSettings, Adapter, lambda settings: [], lambda folder: None)
        return AdapterHost(kinds, manifests, {})


class Refused(NamedTuple):
    """A refusal as a client sees it: status, reason, and every byte of text in it."""

    code: str
    reason: str
    text: bytes

    @property
    def word(self) -> str:
        return f"{self.code}/{self.reason}" if self.reason else self.code


class Town:
    """A running gateway and the words to act as its partners."""

    SCHOOL, PSYCH, HOSPITAL, OPERATOR = SCHOOL, PSYCH, HOSPITAL, OPERATOR

    def __init__(self, gate: TemporaryGateway, clock: ManualClock, recorder: Recorder) -> None:
        self.gate = gate
        self.clock = clock
        self.recorder = recorder

    @staticmethod
    def refused(call: Callable[[], Any]) -> "Refused":
        """What a call over the wire that must fail was told."""
        with pytest.raises(grpc.RpcError) as caught:
            call()
        error: Any = caught.value
        status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
        if status is not None and status.details:
            status.details[0].Unpack(info)
        trailers = b"".join(v if isinstance(v, bytes) else v.encode() for _, v in error.trailing_metadata() or ())
        return Refused(error.code().name, info.reason, f"{error.details()} {status} ".encode() + trailers)

    @staticmethod
    def key() -> str:
        return f"test-{next(_keys):08d}"

    def call(self, partner: str, request: Any) -> Any:
        """A call without the wire. A missing request_id is filled in."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = self.key()
        self.clock.advance(timedelta(milliseconds=1))  # two calls never happen at the same moment
        return self.gate.call_inside(partner, request)

    def refusal(self, partner: str, request: Any) -> str:
        """`STATUS/REASON` of a call that must be refused."""
        with pytest.raises(Refusal) as caught:
            self.call(partner, request)
        return f"{caught.value.status}/{caught.value.reason}"

    def student(self, *, school: str = SCHOOL, code: str = "3205830001", born: str = "2011-05-04", **more: Any) -> str:
        """Register somebody; the id in the school's own system."""
        local = more.pop("local_id", None) or f"s{next(_keys)}"
        request = case_rpc.RegisterStudentsRequest()
        named = {"family_name": "欧阳", "given_name": "𠮷明", "sex": 1, **more}
        request.students.add(local_id=local, birth_date=born, school=code, **named)
        self.call(school, request)
        return local

    def submit(
        self, local: str, answers: bytes = bytes([3] * 9), *, as_: str = SCHOOL, instrument: str = "PHQ-9"
    ) -> Any:
        request = scr_rpc.SubmitAssessmentRequest(instrument=instrument, taken_on="2026-10-01", answers=answers)
        request.student.local_id = local
        return self.call(as_, request)

    def consent_request(
        self, local: str, *, classes: list[int] | None = None, state: int = 1, signer: int = 3, purpose: int = 2,
        recipient: str = HOSPITAL, days: int = 30, guardian: str = "", **proof: Any,
    ) -> Any:  # fmt: skip
        request = case_rpc.RecordConsentRequest()
        request.student.local_id = local
        request.consent.recipient, request.consent.purpose = recipient, purpose
        request.consent.classes.extend(classes or [2, 3, 4, 5, 6, 7, 8, 11, 12, 14])
        request.consent.not_after_us = self.clock.now_us() + int(timedelta(days=days).total_seconds() * 1e6)
        request.consent.signer, request.consent.state = signer, state
        request.consent.form_version, request.consent.evidence_sha256 = "consent-2026-11", bytes(32)
        proof = {"form_sha256": CONSENT_FORM, "text_sha256": bytes(32), "channel": 1, "witness": "w", **proof}
        if signer != 2:
            found = next((g for g in self._guardians(local) if not g.in_conflict), None)
            name, relation = (found.full_name, found.relation) if found else ("欧阳敏", "")
            proof = {
                "guardian_name": guardian or name, "guardian_relation": relation or "mother", "assent": 1, **proof
            }  # fmt: skip
        request.consent.evidence.CopyFrom(consent_pb.ConsentEvidence(**proof))
        return request

    def _guardians(self, local: str) -> list[Any]:
        store, students = self.gate.gateway.store, self.gate.gateway.door.students
        with store.read() as tx:
            known = students.resolve_all(tx, self.gate.gateway.registry.find(SCHOOL), [local])[0]
            return list(students.load(tx, known.id, SCHOOL).guardians) if known is not None else []

    def consent(self, local: str, *, as_: str = PSYCH, **words: Any) -> case.Consent:
        return self.call(as_, self.consent_request(local, **words)).consent

    def confirmed(self, local: str, tier: int = 4, *, as_: str = PSYCH) -> str:
        """A triage with a tier that a person confirmed."""
        request = scr_rpc.ReportSignalRequest(source=2, kind=1, facts="facts")
        request.student.local_id = local
        name = self.call(as_, request).triage.name
        self.call(as_, scr_rpc.ConfirmTierRequest(name=name, tier=tier, note="note"))
        return name

    def refer_request(self, local: str, *, as_: str = PSYCH, **words: Any) -> Any:
        words = {"recipient": HOSPITAL, "urgency": ref.URGENCY_URGENT, "reason": "reason", **words}
        if "triage" not in words:
            words["triage"] = self.confirmed(local, as_=as_)
        request = ref_rpc.CreateReferralRequest(**words)
        request.student.local_id = local
        return request

    def refer(self, local: str, *, as_: str = PSYCH, **words: Any) -> Any:
        return self.call(as_, self.refer_request(local, as_=as_, **words))

    def advance(self, as_: str, name: str, event: int, reason: str = "why", **words: Any) -> Any:
        return self.call(as_, ref_rpc.AdvanceReferralRequest(name=name, event=event, reason=reason, **words)).referral

    def deliver(self, lane: int = 1) -> bool:
        """One step of a delivery worker. Time went by at a running gateway: its journal was signed meanwhile."""
        self.gate.gateway.checkpointer.tick()
        return self.gate.gateway.delivery.deliver_one(lane, f"worker-{next(_keys)}")

    def deliver_all(self) -> int:
        count = 0
        while any([self.deliver(2), self.deliver(1)]):
            count += 1
        return count

    def intake(self, agency: str, handle: Any = None) -> Intake:
        """What takes in whatever an agency brings; ``handle`` stands in for its adapter."""
        gateway = self.gate.gateway
        found = handle or gateway.host.agencies[agency]
        return Intake(gateway.pipeline, found, gateway.registry.find(agency), gateway.clocks.deadline)

    def rows(self, table: Any, **equal: object) -> list[Any]:
        with self.gate.gateway.store.read() as tx:
            statement = table.select()
            for name, value in equal.items():
                statement = statement.where(table.c[name] == value)
            return list(tx.all(statement))

    def journal(self, **equal: object) -> list[Any]:
        return self.rows(tables.journal, **equal)

    def inside_id(self, local: str, *, school: str = SCHOOL) -> str:
        """The internal id of a student."""
        blind = self.gate.gateway.door.students.blind(school, local)
        return str(self.rows(tables.local_ids, partner=school, blind=blind)[0]["student"])


@contextmanager
def _urls(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[tuple[str | None, str | None]]:
    """Migrated databases of a town's own, copied from the session's templates: hundreds of towns are founded."""
    if kind == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        folder.mkdir(exist_ok=True)
        for name in ("records.db", "keys.db"):
            shutil.copyfile(template / name, folder / name)
        yield None, None
        return
    server = make_url(request.getfixturevalue("postgres_url"))
    names = [f"town_{os.getpid()}_{next(_counter)}_{word}" for word in ("records", "keys")]
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name, of in zip(names, request.getfixturevalue("postgres_template"), strict=True):
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {of}")
    try:
        records, keys = (server.set(database=name).render_as_string(hide_password=False) for name in names)
        yield records, keys
    finally:
        with engine.connect() as connection:
            for name in names:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        engine.dispose()


@contextmanager
def _town(
    request: pytest.FixtureRequest, folder: Path, kind: str, *, listen: bool, work: bool = False,
    change: Callable[[dict[str, Any]], None] = lambda settings: None, host: AdapterHost | None = None,
    reports: bool = False, **expected: str,
) -> Iterator[Town]:  # fmt: skip
    def mine(settings: dict[str, Any]) -> None:
        settings["partners"] |= _more_partners()
        settings["adapters"] = {
            HOSPITAL: {"adapter": "recorder_hospital", "settings": {}},
            SCHOOL: {"adapter": "recorder_school", "settings": {}},
        }
        settings["delivery"]["poll_ms"] = 10
        if reports or expected:
            overlay(settings, folder, **expected)
        change(settings)

    with _urls(request, kind, folder) as (url, keys_url):
        config = make_deployment(folder, EXAMPLE, url=url, keys_url=keys_url, change=mine)
        clock, recorder = ManualClock(START), Recorder()
        gate = TemporaryGateway(config, host=host or recorder.kinds(folder), clock=clock)
        gate.start(listen=listen, work=work)
        try:
            yield Town(gate, clock, recorder)
        finally:
            gate.stop()


@pytest.fixture(scope="module", params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """Each kind of database in turn."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Town]:
    """A town for a whole module, on each database; no listener, and deliveries go when the test says so."""
    with _town(request, tmp_path_factory.mktemp("town"), database, listen=False) as made:
        yield made


@pytest.fixture
def fresh_town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    """A town of one's own, for tests that move the clock or count everything; SQLite, no listener."""
    with _town(request, tmp_path, "sqlite", listen=False) as made:
        yield made


@pytest.fixture(scope="module")
def make_town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Makes towns: ``with make_town(listen=True) as town``."""

    def make(kind: str = "sqlite", **words: Any) -> Any:
        return _town(request, tmp_path_factory.mktemp("town"), kind, **{"listen": True, **words})

    return make
