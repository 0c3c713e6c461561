"""A gateway put together: every room built once from the configuration, started and stopped in order."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from pathlib import Path

import grpc
import uvloop

from xinqiao.adapters.agency import AgencySpec
from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.adapters.host import AdapterHost
from xinqiao.api.adapter.v1.adapter_service_pb2 import CapacityRequest, CapacityResponse, Rejected
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao.casefile.consent_room import ConsentRoom
from xinqiao.casefile.consents import Consents
from xinqiao.casefile.erasure import Erasure
from xinqiao.casefile.export import Exports
from xinqiao.casefile.mailbox import Mailboxes
from xinqiao.casefile.overrides import Overrides
from xinqiao.casefile.plans import Plans
from xinqiao.casefile.recalls import CONTRACT, Recalls
from xinqiao.casefile.rules import load_casefile_rules
from xinqiao.casefile.service import CaseFile
from xinqiao.casefile.shares import Shares
from xinqiao.casefile.tasks import Tasks
from xinqiao.casefile.teams import Teams
from xinqiao.config.bundle import Bundle, named_adapters
from xinqiao.config.clocks import Clocks
from xinqiao.config.document import read_document
from xinqiao.config.settings import Gateway as Settings
from xinqiao.contract.clock import BEIJING, Clock, SystemClock, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.delivery.workers import Delivery, Pace
from xinqiao.disclosure.agreements import announce, ends_soon
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Policy
from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.disclosure.students import Students
from xinqiao.disclosure.versions import PolicyVersions
from xinqiao.documents.template import load_catalogue
from xinqiao.exchange.activities import Activities
from xinqiao.exchange.report_rules import load_reports
from xinqiao.exchange.reports import PublishedReports
from xinqiao.exchange.service import Exchanges
from xinqiao.journal.checkpoint import Checkpointer
from xinqiao.journal.cosigning import load_cosigners
from xinqiao.journal.heads import check_clock
from xinqiao.journal.signing import load_public_keys, load_signing_key
from xinqiao.referral.capacity import Capacity
from xinqiao.referral.drills import Drills
from xinqiao.referral.ladder import Ladder
from xinqiao.referral.notices import Notices, Terms
from xinqiao.referral.returns import Returns
from xinqiao.referral.service import Referrals
from xinqiao.screening.cadence import Reports
from xinqiao.screening.service import Screening
from xinqiao.screening.signals import Signals
from xinqiao.server.access import Access
from xinqiao.server.access_rules import load_access_rules
from xinqiao.server.edge import Edge, Limits, make_server
from xinqiao.server.identity import Identity
from xinqiao.server.keyring import Keyring
from xinqiao.server.not_taken import Tally
from xinqiao.server.pipeline import Pipeline
from xinqiao.server.reading import Reading
from xinqiao.server.recorder import Recorder
from xinqiao.server.repairs import Repairs
from xinqiao.server.retention import Retention, load_retention
from xinqiao.server.rules import Reloading, blocked_of, load_rules, phones_of, plan_of, refusals_of
from xinqiao.server.scheduler import Ticks
from xinqiao.server.status import GatewayRoom
from xinqiao.store.engine import Store, open_store
from xinqiao.store.providers import provider_of
from xinqiao.store.sealing import SUITE_IDS

_CHECKPOINT_LOOK_S = 1.0
_US = timedelta(microseconds=1)
_log = logging.getLogger("xinqiao.server")


class Gateway:
    """One node. ``start`` serves; ``stop`` lets work under way finish; both may be called once."""

    def __init__(
        self, config: Path, *, host: AdapterHost | None = None, bundle: Bundle | None = None, clock: Clock | None = None
    ) -> None:
        """Load the configuration and open the store. Raises ConfigError, Refusal (store, keys) or PolicyError.

        ``bundle`` is ``config`` where it was read already, with the settings models of ``host``.
        """
        self.clock = clock or SystemClock()
        self.host = host or AdapterHost.load(named_adapters(read_document(config)))
        self.bundle = bundle or Bundle(config, self.host.settings_models())
        settings = self.settings = self.bundle.gateway
        clocks = self.clocks = Clocks(self.bundle.district, self.bundle.calendar)
        self.registry = Registry(_partners(settings), lambda school: clocks.on_duty(school, self.clock.now_us()))
        operators = self.registry.with_role(options.ROLE_OPERATOR)
        self.operator = operators[0].id if operators else "operator"
        self.store: Store = open_store(
            settings.store.url, settings.store.keys_url, Path(settings.store.keyring), self.clock, node=settings.node,
            migrate=True, suite=SUITE_IDS[settings.store.suite], provider=provider_of(settings.store),
        )  # fmt: skip
        try:
            self._build(settings)
        except BaseException:
            self.store.close()
            raise
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: grpc.aio.Server | None = None
        self._ticking = False
        self.port = 0

    def _build(self, settings: Settings) -> None:
        keys = self.store.keys
        rules = load_rules(settings, self.bundle)
        self.versions = PolicyVersions(Path(settings.store.keyring).parent / "policies")
        policy_file = Path(settings.policy) / "disclosure.yaml"
        self.versions.keep(policy_file, rules.policy)
        self.door = Door(rules.policy, rules.bases, self.registry, Students(keys), keys)
        clocks, district = self.clocks, rules.district
        self.reports = Reports(self.door, rules.calendar, rules.cadences, self.operator)
        signals = Signals(self.door, rules.signals, clocks.deadline, self.store.read, self._declared)
        screening = Screening(self.door, rules.library, rules.pack, clocks.deadline, signals, self.reports)
        phones, plan = phones_of(district), plan_of(district)
        referrals = Referrals(
            self.door, clocks.deadline, self._declared, Capacity(self._capacity, district.services), plan,
            refusals_of(district), phones,
        )  # fmt: skip
        returns = Returns(self.door, district.return_to_school)
        terms = _terms(settings, rules.policy, district.notice_valid, clocks)
        receipt_keys = {
            name: Path(partner.receipt_key).read_bytes()
            for name, partner in settings.partners.items()
            if partner.receipt_key is not None and Path(partner.receipt_key).exists()
        }
        self.forms = terms.forms
        recalls = Recalls(self.door, self._declared, receipt_keys, lambda: clocks.consent.recall)
        tasks = Tasks(self.door, self._declared)
        consents = Consents(self.door, recalls, terms.forms, lambda: clocks.consent, referrals.undelivered, tasks)
        casefile_rules = load_casefile_rules(Path(settings.policy) / "casefile.yaml")
        self.shares = Shares(self.door, casefile_rules, tasks)
        plans = Plans(self.door, casefile_rules)
        signing_key = load_signing_key(Path(settings.journal.signing_key))
        self.checkpointer = Checkpointer(
            self.store, signing_key, settings.deployment,
            cosigners=load_cosigners(settings.journal.cosigners),
            memory=settings.journal.signing_key.with_suffix(".heads"),
            every_s=settings.journal.checkpoint_seconds - _CHECKPOINT_LOOK_S,
            every_rows=settings.journal.checkpoint_rows,
        )  # fmt: skip
        self.erasure = Erasure(self.store, self.door)
        self.keyring = Keyring(self.store, self.door)
        self.exchanges = Exchanges(
            self.store,
            self.door,
            dict(settings.exchanges),
            signing_key,
            settings.deployment,
            self._send_package,
            receipt_keys,
            self.bundle.calendar,
            self._tell_refused,
        )
        self.retention = Retention(
            self.store, self.door, load_retention(settings.policy / "retention.yaml"), self.erasure
        )
        self.access = Access(
            self.store, self.door, load_access_rules(settings.policy / "access.yaml"), Exports(self.door)
        )
        deny_list = settings.server.tls.deny_list
        identity = Identity(self.registry, self.clock, deny_list and Path(deny_list))
        room = GatewayRoom(
            settings.deployment,
            self.host.agencies,
            phones.emergency,
            lambda: self.checkpointer.failure,
            self.keyring,
            Repairs(
                settings,
                self.host.agencies,
                self.door,
                lambda: clocks.repairs,
                identity.ends,
                terms.forms,
                host=self.host,
            ),
            Recorder(self.store, self.host, Path(settings.store.keyring).parent / "recordings"),
        )
        self.pipeline = Pipeline(
            self.store,
            self.door,
            {
                "xinqiao.api.screening.v1.ScreeningService": screening,
                "xinqiao.api.referral.v1.ReferralService": referrals,
                "xinqiao.api.referral.v1.NoticeService": Notices(
                    self.store, self.door, clocks.deadline, terms, self._declared
                ),
                "xinqiao.api.referral.v1.ReturnService": returns,
                "xinqiao.api.casefile.v1.CaseFileService": CaseFile(
                    self.door,
                    consents,
                    self.store.read,
                    self.erasure,
                    shares=self.shares,
                    plans=plans,
                    versions=self.versions,
                ),
                "xinqiao.api.casefile.v1.ConsentService": ConsentRoom(consents, recalls, Overrides(self.door, recalls)),
                "xinqiao.api.casefile.v1.CasePlanService": plans,
                "xinqiao.api.casefile.v1.CareTeamService": Teams(self.door, self.shares, tasks),
                "xinqiao.api.casefile.v1.MailboxService": Mailboxes(
                    self.door, casefile_rules, clocks.deadline, signals.report_signal
                ),
                "xinqiao.api.exchange.v1.ActivityService": Activities(),
                "xinqiao.api.exchange.v1.ReportService": PublishedReports(
                    self.door,
                    load_reports(Path(settings.reports)) if settings.reports is not None else {},
                    settings.deployment,
                ),
                "xinqiao.api.exchange.v1.ExchangeService": self.exchanges,
                "xinqiao.api.gateway.v1.GatewayService": room,
                "xinqiao.api.gateway.v1.RetentionService": self.retention,
                "xinqiao.api.gateway.v1.AccessService": self.access,
            },
        )
        self.ladder = Ladder(
            self.store, self.door, self.registry, clocks.deadline, self.operator, rules.ladder,
            referrals.fallback.unconfirmed,
        )  # fmt: skip
        self.drills = Drills(
            self.store, self.door, self.pipeline.call, referrals.book, referrals.post, plan,
            district.crisis.drill_time // _US,
        )  # fmt: skip
        referrals.drills = self.drills
        self._reloading = Reloading(
            self.store, self.door, screening, signals, clocks, self.ladder, self.operator, self.versions, self.reports,
            self.exchanges, referrals, self.drills, returns, room, self.host,
        )  # fmt: skip
        pace = settings.delivery
        self.delivery = Delivery(
            self.store,
            self.door,
            self.host.agencies,
            Pace(
                pace.routine_workers, pace.crisis_workers, pace.backoff_s, pace.max_attempts, pace.lease_s,
                pace.poll_ms / 1000,
            ),
            {"referral": referrals.delivered, CONTRACT: recalls.delivered},
            referrals.undelivered,
            self.operator,
            lambda: self.checkpointer.notes,
        )  # fmt: skip
        limits = settings.server.limits
        self.edge = Edge(
            self.pipeline,
            identity,
            Limits(
                limits.message_bytes, limits.metadata_bytes, limits.streams_per_connection,
                float(limits.max_deadline_s), limits.concurrent_per_partner, limits.rate_per_partner,
                float(limits.stream_idle_s),
            ),
        )  # fmt: skip
        self.reading = Reading(self.pipeline, self.host.agencies, self.registry, self.clocks.deadline)
        self.ticks = Ticks(
            {
                "checkpoint": (_CHECKPOINT_LOOK_S, self.checkpointer.tick),
                # Red waits seconds, not minutes, for its next channel; an idle look is one indexed read.
                "ladder": (1.0, self.climb),
                "drills": (1.0, self.drills.end_due),
                "intake": (2.0, self.reading.tick),
                "shares": (30.0, lambda: self.shares.end_due(self.store)),
                "exchanges": (30.0, self.run_due),
                "keys": (1.0, self.keyring.tick),
                "erasures": (10.0, self.erasure.finish),
                "reports": (60.0, lambda: self.reports.tick(self.store)),
                "retention": (600.0, self.retention.tick),
                "agreements": (3600.0, self.watch_agreements),
            }
        )

    def start(self, *, listen: bool = True, tick: bool = True, work: bool = True) -> None:
        """Start adapters, workers, the clock and the listener. Raises Refusal UNAVAILABLE/PORT_TAKEN.

        Without ``work`` nothing is delivered unless asked, for tests and drills.
        """
        settings = self.settings
        with self.store.read() as reading:
            check_clock(reading, self.clock.now_us())
        self.erasure.reconcile()
        self._reloading.good()
        self.host.block(blocked_of(self.bundle.district))
        self.host.start(
            {name: _spec(name, settings) for name in settings.adapters},
            deployment=settings.deployment, folder=Path(settings.store.keyring).parent / "adapters", clock=self.clock,
            listen=listen, seal=lambda agency: self.store.keys.sealer_for(f"spool/{agency}"),
        )  # fmt: skip
        if listen:
            self._listen(settings)
        if work:
            self.delivery.start()
        if tick:
            self.watch_agreements()
            self.ticks.start()
        self._ticking = tick

    def stop(self) -> None:
        """Stop listening, finish what is in hand, sign the last checkpoint, close the store."""
        if self._ticking:
            self.ticks.stop()
        self.reading.stop()
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._stop_server(), self._loop).result(30)
            self._loop.call_soon_threadsafe(self._loop.stop)
            if self._thread is not None:
                self._thread.join(10)
        self.delivery.stop()
        self.host.close()
        self.edge.close()
        try:
            self.checkpointer.run_once()
        finally:
            self.store.close()

    def reload(self) -> bool:
        """Read policy, legal bases, instruments, triage and district overlay again; False when one is broken."""
        return self._reloading.reload(self.settings)

    def watch_agreements(self) -> None:
        """Put every agreement that ends soon to the operator."""
        ahead_us = self.clocks.agreement_notice // _US
        if ends_soon(self.store, self.registry, ahead_us):
            self.store.run(lambda tx: announce(tx, self.registry, self.operator, ahead_us))

    def climb(self) -> None:
        """Move what is overdue; an ask to look that nobody decided ends by itself first, and climbs no ladder."""
        try:
            self.access.end_due()
        finally:  # whatever another room meets, an overdue red item climbs
            self.ladder.climb()

    def read_all(self, progress: Callable[[Tally], None] = lambda tally: None) -> dict[str, Tally]:
        """Look once at every agency that brings something, and wait for it."""
        return self.reading.read_all(progress)

    def run_due(self) -> None:
        """Run every exchange whose time has come and that is not settled, oldest first; then ask for receipts that are owed."""
        for due in self.exchanges.due(self.clock.now_us()):
            try:
                self.exchanges.run(due.exchange, due.period, actor="gateway")
            except Exception as error:  # one exchange that fails must not hold up the others
                _log.error("exchange %s of %s met %s", due.exchange, due.period, type(error).__name__)
        self.exchanges.collect()
        self.exchanges.watch()

    def _send_package(self, agency: str, package: Package, request_id: str) -> SignedReceipt | None:
        handle = self.host.agencies.get(agency)
        if handle is None:
            raise PartnerUnavailable("no adapter is configured for this agency")
        return handle.exchange(package, request_id)

    def _tell_refused(self, agency: str, refused: Sequence[Rejected]) -> None:
        handle = self.host.agencies.get(agency)
        if handle is not None:
            handle.report(refused)

    def _declared(self, agency: str, contract: str) -> int | None:
        """Classes that the agency's adapter declares it reads of a contract; None where it has none."""
        handle = self.host.agencies.get(agency)
        if handle is None or handle.manifest is None:
            return None
        if not handle.manifest.takes(contract):
            return None
        mask = 0
        for field_class in handle.declared_classes(contract):
            mask |= 1 << int(field_class)
        return mask

    def _capacity(self, agency: str, request: CapacityRequest) -> CapacityResponse | None:
        handle = self.host.agencies.get(agency)
        return handle.capacity(request, self.clocks.capacity_wait.total_seconds()) if handle else None

    def _listen(self, settings: Settings) -> None:
        ready: list[int | BaseException] = []
        started = threading.Event()
        tls = settings.server.tls
        credentials = grpc.ssl_server_credentials(
            [(Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes())],
            root_certificates=Path(tls.ca).read_bytes(),
            require_client_auth=True,
        )

        async def serve() -> None:
            server = self._server = make_server(self.edge.limits)
            server.add_generic_rpc_handlers((self.edge,))
            if settings.server.reflection:
                from grpc_reflection.v1alpha import reflection

                names = [method.service for method in self.pipeline.methods.values()]
                reflection.enable_server_reflection([*dict.fromkeys(names), reflection.SERVICE_NAME], server)
            ready.append(server.add_secure_port(str(settings.server.listen), credentials))
            await server.start()

        def run() -> None:
            loop = self._loop = uvloop.new_event_loop()
            asyncio.set_event_loop(loop)
            try:
                loop.run_until_complete(serve())
            except BaseException as error:
                ready.append(error)
                started.set()
                return
            started.set()
            loop.run_forever()
            loop.close()

        self._thread = threading.Thread(target=run, name="edge", daemon=True)
        self._thread.start()
        started.wait(30)
        result = ready[-1] if ready else RuntimeError()
        if not isinstance(result, int) or result == 0:
            raise Refusal("UNAVAILABLE", "PORT_TAKEN", f"cannot listen on {settings.server.listen}: already running?")
        self.port = result

    async def _stop_server(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=5)


def _terms(settings: Settings, policy: Policy, valid: timedelta, clocks: Clocks) -> Terms:
    """What notices need. A gateway without templates or key serves all the rest, and says what is missing when asked."""
    forms = load_catalogue(Path(settings.documents), policy) if settings.documents is not None else None
    path = settings.document_key
    key = load_signing_key(Path(path)) if path is not None and Path(path).exists() else None
    retired = Path(path).with_suffix(".retired") if path is not None else None
    return Terms(
        forms, key, valid, load_public_keys(retired) if retired is not None and retired.is_dir() else (),
        lambda: clocks.consent.ask_again_after,
    )  # fmt: skip


def _spec(name: str, settings: Settings) -> AgencySpec:
    entry = settings.adapters[name]
    names = settings.partners[name].names
    return AgencySpec(
        agency=name, names={"zh": names.zh, "en": names.en}, kind=str(entry.adapter), settings=entry.settings,
        enabled=entry.enabled, deadline_s=float(entry.deadline_s), concurrency=entry.concurrency,
        breaker_failures=entry.breaker.failures, breaker_reset_s=float(entry.breaker.reset_s),
        isolation=entry.isolation, memory_mb=entry.memory_mb,
    )  # fmt: skip


def _partners(settings: Settings) -> list[Partner]:
    found: list[Partner] = []
    for name, partner in settings.partners.items():
        start = datetime.combine(partner.agreement.valid_from, time(), BEIJING)
        end = datetime.combine(partner.agreement.valid_to + timedelta(days=1), time(), BEIJING)
        found.append(
            Partner(
                name, partner.kind, partner.agency or name,
                frozenset(int(options.Role.Value(f"ROLE_{role}")) for role in partner.roles),
                frozenset(str(school) for school in partner.schools), str(partner.spiffe), to_us(start), to_us(end),
                {"zh": partner.names.zh, "en": partner.names.en},
            )
        )  # fmt: skip
    return found
