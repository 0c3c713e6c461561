"""The story of one month: every act goes through the same doors that partners use, and says what it saw."""

import hashlib
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from xinqiao.api.casefile.v1 import casefile_pb2, casefile_service_pb2
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.exchange.v1 import exchange_pb2, exchange_service_pb2
from xinqiao.api.referral.v1 import referral_pb2, referral_service_pb2
from xinqiao.api.screening.v1 import screening_pb2, screening_service_pb2
from xinqiao.cli.demo import tables as show
from xinqiao.cli.demo.clients import Clients, everything, reason_of
from xinqiao.cli.demo.deployment import HOSPITAL, SCHOOL, Deployment, prepare
from xinqiao.contract.clock import BEIJING, ShiftedClock, from_us, to_us
from xinqiao.disclosure.door import words
from xinqiao.journal.verify import verify_database
from xinqiao.server.intake import Tally
from xinqiao.server.runtime import Gateway
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.sql import func

T = TypeVar("T")
PERIOD = "2026-10"
_BEGIN = datetime(2026, 10, 13, 9, 0, tzinfo=BEIJING)
_OUTCOME = datetime(2026, 10, 20, 15, 0, tzinfo=BEIJING)
_CLOSE = datetime(2026, 11, 2, 3, 0, tzinfo=BEIJING)
_DAY_US = 86_400_000_000
_REPORTED = (referral_pb2.REFERRAL_STATE_OUTCOME_REPORTED, referral_pb2.REFERRAL_STATE_CLOSED)
_SHARED = [
    options.FIELD_CLASS_CASE_REF,
    options.FIELD_CLASS_IDENTITY,
    options.FIELD_CLASS_CONTACT,
    options.FIELD_CLASS_SCHOOL,
    options.FIELD_CLASS_TIER,
    options.FIELD_CLASS_SCORES,
    options.FIELD_CLASS_REFERRAL_REASON,
    options.FIELD_CLASS_CONSENT_EVIDENCE,
]


def play(
    *,
    folder: Path,
    roster: Path | None = None,
    scores: Path | None = None,
    stay: bool = False,
    lang: str = "en",
    example: Path = Path("config/gateway.example.yaml"),
) -> int:
    """Play the month and return an exit code. Raises nothing for what a partner does; a broken story is exit 70."""
    console = Console()
    settings: dict[str, Any] = {}
    if roster is not None or scores is not None:
        # Other people's files: take their good rows, and students that only a sheet names.
        settings = {"register_unknown": True, "accept_valid_rows": True, "default_date": "2026-10-12"}
    deployment = prepare(folder, example, settings)
    clock = ShiftedClock(_BEGIN)
    gateway = Gateway(deployment.config, host=deployment.host, clock=clock)
    resumed = _wind(gateway, clock, _BEGIN)
    gateway.start()
    story = Story(console, gateway, deployment, clock, lang)
    try:
        if resumed:
            story.say("接着上次中断之处继续", "going on where the last run was interrupted")
        story.run(roster, scores)
        if stay:
            story.stay()
        (folder / "ended").write_text("")
    finally:
        gateway.stop()
        deployment.school.stop()
        deployment.hospital.stop()
    return story.verify()


def _wind(gateway: Gateway, clock: ShiftedClock, moment: datetime) -> bool:
    """Set the story's clock to ``moment``, or to the newest journal row if that is later; True if there was one."""
    with gateway.store.read() as reading:
        newest = reading.scalar(tables.journal.select().with_only_columns(func.max(tables.journal.c.at_us)))
    target = max(to_us(moment), int(newest or 0))
    if target > clock.now_us():
        clock.advance(timedelta(microseconds=target - clock.now_us()))
    return newest is not None


class Story:
    """The acts. Each is safe to play again: request ids are derived, so what was done is answered, not done twice."""

    def __init__(
        self, console: Console, gateway: Gateway, deployment: Deployment, clock: ShiftedClock, lang: str
    ) -> None:
        self.console = console
        self.gateway = gateway
        self.deployment = deployment
        self.clock = clock
        self.zh = lang.startswith("zh")
        self.facts: list[tuple[str, str]] = []
        self.clients = Clients(deployment, gateway.port)

    def run(self, roster: Path | None, scores: Path | None) -> None:
        """All seven acts."""
        bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self.console,
        )  # fmt: skip
        acts: list[tuple[datetime, str, str, Callable[[], None]]] = [
            (
                _BEGIN,
                "学校平台送来名册与量表",
                "the school brings roster and score sheets",
                lambda: self.intake(roster, scores),
            ),
            (_BEGIN, "心理教师确认等级", "the psychologist confirms tiers", self.confirm),
            (_BEGIN, "知情同意与转介", "a consent, and a referral", self.refer),
            (_BEGIN, "没有同意即拒绝", "without consent: refused", self.refuse),
            (_BEGIN, "危机转介，法定依据", "a crisis, under the law", self.crisis),
            (_OUTCOME, "医院反馈", "the hospital reports", self.outcome),
            (_CLOSE, "月末对账", "the month is settled", self.settle),
        ]
        with bar:
            task = bar.add_task(self.text("十月", "October"), total=len(acts))
            for moment, zh, en, act in acts:
                _wind(self.gateway, self.clock, moment)
                bar.update(task, description=self.text(zh, en))
                self.console.rule(
                    f"[bold]{self.text(zh, en)}  [dim]{from_us(self.clock.now_us()).astimezone(BEIJING):%Y-%m-%d %H:%M}"
                )
                act()
                bar.advance(task)
        self.summary()

    def intake(self, roster: Path | None, scores: Path | None) -> None:
        """Files are dropped into the platform's folder; the adapter reads them and every form is submitted."""
        school = self.deployment.school
        if roster is None and scores is None:
            school.drop_school(students=120)
        for path in (roster, scores):
            if path is not None:
                school.drop(path)
        tallies: list[Tally] = []
        deadline = time.monotonic() + 45
        while time.monotonic() < deadline:
            tallies.append(self.gateway.read_all().get(SCHOOL, Tally()))
            if not (tallies[-1].students or tallies[-1].forms or tallies[-1].rejected):
                break
        rejected = [r for tally in tallies for r in tally.rejected]
        count = self._counts()
        self.tell(
            f"{count['students']} 名学生, {count['assessments']} 份量表入库, {count['signals']} 个危机信号 (不论总分)",
            f"{count['students']} students, {count['assessments']} forms stored, {count['signals']} crisis signals"
            " (whatever the total)",
        )
        if rejected:
            self.console.print(show.rejected(rejected[:8], len(rejected), self.zh))

    def confirm(self) -> None:
        """She takes each signal and confirms each proposal, the most urgent first."""
        for sign in everything(self.clients.screening.ListSignals, screening_service_pb2.ListSignalsRequest, "signals"):
            if sign.state == screening_pb2.SIGNAL_STATE_OPEN:
                self.clients.screening.AcknowledgeSignal(
                    screening_service_pb2.AcknowledgeSignalRequest(request_id=_id("ack", sign.name), name=sign.name),
                    timeout=20,
                )
        tiers: Counter[str] = Counter()
        for triage in self._triages():
            if triage.state == screening_pb2.TRIAGE_STATE_PROPOSED:
                triage = self.clients.screening.ConfirmTier(
                    screening_service_pb2.ConfirmTierRequest(
                        request_id=_id("confirm", triage.name), name=triage.name, tier=triage.proposed
                    ),
                    timeout=20,
                ).triage
            tiers[types.Tier.Name(triage.confirmed).removeprefix("TIER_")] += 1
        listed = ", ".join(f"{name} {count}" for name, count in sorted(tiers.items()))
        self.tell(f"机器建议，由人确认: {listed}", f"a machine proposed, a person confirmed: {listed}")

    def refer(self) -> None:
        """A consent names recipient, purpose and classes; the hospital gets exactly those."""
        triage = self._red(0)
        if triage is None:
            return
        consent = casefile_service_pb2.RecordConsentRequest(request_id=_id("consent", triage.name))
        consent.student.name = triage.student
        consent.consent.recipient = HOSPITAL
        consent.consent.purpose = options.PURPOSE_TREATMENT
        consent.consent.classes.extend(_SHARED)
        consent.consent.not_after_us = to_us(_BEGIN) + 180 * _DAY_US
        consent.consent.signer = casefile_pb2.SIGNER_BOTH
        consent.consent.form_version = "2026-09"
        consent.consent.evidence_sha256 = hashlib.sha256(triage.name.encode()).digest()
        consent.consent.state = casefile_pb2.CONSENT_STATE_GIVEN
        self.clients.cases.RecordConsent(consent, timeout=20)
        created = self.clients.referrals.CreateReferral(
            self._referral(triage, referral_pb2.URGENCY_URGENT, "情绪持续低落，量表提示需专业评估"), timeout=20
        )
        self._wait(created.referral.name, referral_pb2.REFERRAL_STATE_RECEIVED)
        self.deployment.hospital.accept_all()
        self.gateway.read_all()
        self._wait(created.referral.name, referral_pb2.REFERRAL_STATE_ACCEPTED)
        kept = words(list(created.withheld)) or "-"
        self.tell(
            f"转介送达并被医院接受 (FHIR R4); 未给出: {kept}",
            f"referral delivered and accepted by the hospital (FHIR R4); kept back: {kept}",
        )

    def refuse(self) -> None:
        """The same request for another student, whose family was not asked."""
        triage = self._red(1)
        if triage is None:
            return
        request = self._referral(triage, referral_pb2.URGENCY_URGENT, "情绪持续低落")
        try:
            self.clients.referrals.CreateReferral(request, timeout=20)
        except grpc.RpcError as error:
            self.tell(
                f"拒绝: {reason_of(error)}; 已记入存证日志",
                f"refused: {reason_of(error)}; the journal has a row for it",
            )
            return
        raise RuntimeError("a referral without consent went out")

    def crisis(self) -> None:
        """Life safety needs no consent, but facts, a citation, and the family told within 24 hours."""
        triage = self._red(2)
        if triage is None:
            return
        request = self._referral(triage, referral_pb2.URGENCY_EMERGENCY, "危机")
        request.crisis_facts = "班主任发现告别留言，学生已由两名老师陪护"
        request.basis = "life-safety"
        begin = time.monotonic()
        created = self.clients.referrals.CreateReferral(request, timeout=20)
        self._wait(created.referral.name, referral_pb2.REFERRAL_STATE_RECEIVED)
        took = time.monotonic() - begin
        citation = self.gateway.door.bases["life-safety"].citation["zh" if self.zh else "en"]
        kept = words(list(created.withheld)) or "-"
        self.tell(
            f"危机通道 {took:.2f} 秒送达医院; 依据: {citation}; 未给出: {kept}; 须在 24 小时内告知监护人: {created.duty}",
            f"at the hospital in {took:.2f} s by the crisis lane; basis: {citation}; kept back: {kept};"
            f" a duty to notify within 24 h is open: {created.duty}",
        )
        self.clients.cases.DischargeDuty(
            casefile_service_pb2.DischargeDutyRequest(
                request_id=_id("duty", created.duty), name=created.duty, how="电话告知监护人，已确认"
            ),
            timeout=20,
        )
        self.deployment.hospital.accept_all()
        self.gateway.read_all()

    def outcome(self) -> None:
        """Five days later the hospital reports; the school is told what class needs."""
        hospital = self.deployment.hospital
        hospital.schedule_all()
        hospital.attend_all()
        hospital.report_outcomes()
        deadline = time.monotonic() + 20
        mine: list[referral_pb2.Referral] = []
        while time.monotonic() < deadline:
            self.gateway.read_all()
            mine = everything(
                self.clients.referrals.ListReferrals, referral_service_pb2.ListReferralsRequest, "referrals"
            )
            if all(r.state in _REPORTED for r in mine) and self.deployment.school.received():
                break
            time.sleep(0.2)
        done = [r for r in mine if r.state == referral_pb2.REFERRAL_STATE_OUTCOME_REPORTED]
        for referral in done:
            self.clients.referrals.AdvanceReferral(
                referral_service_pb2.AdvanceReferralRequest(
                    request_id=_id("close", referral.name), name=referral.name,
                    event=referral_pb2.REFERRAL_EVENT_CLOSE,
                ),
                timeout=20,
            )  # fmt: skip
        if mine:
            seen = mine[-1].outcome
            self.tell(
                f"学校得到建议「{seen.school_advice}」, 诊断{'已给出' if seen.diagnosis else '未给出'}; "
                f"平台收到 {len(self.deployment.school.received())} 份反馈",
                f"the school is told: “{seen.school_advice}”; diagnosis {'shown' if seen.diagnosis else 'not shown'}; "
                f"its platform holds {len(self.deployment.school.received())} notice(s)",
            )

    def settle(self) -> None:
        """First working day of November, 02:00: the tick finds the exchange due; asked for again, it changes nothing."""
        self._quiet()
        self.gateway.run_due()
        runs: list[exchange_pb2.ExchangeRun] = []
        for attempt in (1, 2):
            response = self.clients.exchange.RunExchange(
                exchange_service_pb2.RunExchangeRequest(
                    request_id=f"demo.exchange.{attempt}.{secrets.token_hex(4)}", exchange="school-hospital-monthly",
                    period=PERIOD,
                ),
                timeout=25,
            )  # fmt: skip
            runs = list(response.runs)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and any(r.state != exchange_pb2.RUN_STATE_RECONCILED for r in runs):
            time.sleep(0.3)
            self.gateway.run_due()
            runs = list(
                self.clients.exchange.ListExchangeRuns(exchange_service_pb2.ListExchangeRunsRequest(), timeout=20).runs
            )
        self.console.print(show.runs(runs, self.zh))
        self.facts.append(("exchange", str(all(r.state == exchange_pb2.RUN_STATE_RECONCILED for r in runs))))

    def summary(self) -> None:
        """What happened, who holds what, and until when."""
        with self.gateway.store.read() as reading:
            j = tables.journal.c
            rows = reading.all(
                tables.journal.select()
                .with_only_columns(j.kind, j.decision, func.count().label("n"))
                .group_by(j.kind, j.decision)
                .order_by(func.count().desc())
            )
        self.console.print(show.journal([(str(r["kind"]), str(r["decision"]), int(r["n"])) for r in rows], self.zh))
        holdings = everything(self.clients.watch.ListHoldings, referral_service_pb2.ListHoldingsRequest, "holdings")
        self.console.print(show.holdings(holdings, self.clock.now_us(), self.zh))

    def verify(self) -> int:
        """The journal, offline and without any student's key, after the gateway has stopped."""
        report = verify_database(
            f"sqlite:///{self.deployment.folder.resolve()}/xinqiao.db",
            self.deployment.folder / "pki" / "journal.pub",
        )
        for line in report.lines():
            self.console.print(line, style="green" if report.code == 0 else "red", highlight=False)
        return report.code

    def stay(self) -> None:
        """Leave the gateway up until Ctrl-C or SIGTERM."""
        pki = self.deployment.folder / "pki"
        self.say(
            f"网关在 127.0.0.1:{self.gateway.port} 运行; 证书在 {pki}/partners; Ctrl-C 结束",
            f"the gateway stays up on 127.0.0.1:{self.gateway.port}; certificates in {pki}/partners; Ctrl-C ends it",
        )
        (self.deployment.folder / "port").write_text(str(self.gateway.port))
        done = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: done.set())
        done.wait()

    def tell(self, zh: str, en: str) -> None:
        """One fact of the story."""
        self.console.print("  [green]✓[/green] " + self.text(zh, en), highlight=False)

    def say(self, zh: str, en: str) -> None:
        """A remark."""
        self.console.print(f"[bold cyan]{self.text(zh, en)}", highlight=False)

    def text(self, zh: str, en: str) -> str:
        """The reader's language."""
        return zh if self.zh else en

    def _referral(
        self, triage: screening_pb2.Triage, urgency: referral_pb2.Urgency.ValueType, reason: str
    ) -> referral_service_pb2.CreateReferralRequest:
        request = referral_service_pb2.CreateReferralRequest(
            request_id=_id("refer", triage.name), recipient=HOSPITAL, triage=triage.name, urgency=urgency,
            reason=reason, note="只留在学校的记录",
        )  # fmt: skip
        request.student.name = triage.student
        return request

    def _red(self, index: int) -> screening_pb2.Triage | None:
        """The index-th red case of a different student, the same after a restart."""
        chosen: dict[str, screening_pb2.Triage] = {}
        for triage in self._triages():
            if triage.confirmed == types.TIER_RED:
                chosen.setdefault(triage.student, triage)
        cases = list(chosen.values())
        if index >= len(cases):
            self.tell("名册中没有更多红色个案，跳过", "no further red case in these files: skipped")
            return None
        return cases[index]

    def _triages(self) -> list[screening_pb2.Triage]:
        found = everything(self.clients.screening.ListTriages, screening_service_pb2.ListTriagesRequest, "triages")
        return sorted(found, key=lambda triage: (-triage.proposed, triage.name))

    def _quiet(self) -> None:
        """Until everything released has arrived; a partner that is down would be seen in the summary."""
        open_states = [int(DeliveryState.PENDING), int(DeliveryState.RUNNING)]
        d = tables.deliveries
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with self.gateway.store.read() as reading:
                if reading.one(d.select().where(d.c.state.in_(open_states)).limit(1)) is None:
                    return
            time.sleep(0.1)

    def _wait(self, name: str, state: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            referral = self.clients.referrals.GetReferral(
                referral_service_pb2.GetReferralRequest(name=name), timeout=20
            ).referral
            if any(change.state == state for change in referral.history):
                return
            self.gateway.read_all()
            time.sleep(0.1)
        raise RuntimeError(
            f"{name} did not become {referral_pb2.ReferralState.Name(referral_pb2.ReferralState.ValueType(state))}"
        )

    def _counts(self) -> dict[str, int]:
        with self.gateway.store.read() as reading:
            return {
                table.name: int(reading.scalar(table.select().with_only_columns(func.count(table.c.id))) or 0)
                for table in (tables.students, tables.assessments, tables.signals)
            }


def _id(kind: str, name: str) -> str:
    return f"demo.{kind}.{name.rpartition('/')[2]}"
