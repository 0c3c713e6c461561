"""The rules that may change while a gateway runs: read together, put in place together, or not at all."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from xinqiao.adapters.host import AdapterHost, BlockedPlugin
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.config.bundle import Bundle, cadences_of, calendar_of, district_of
from xinqiao.config.cadence import Cadence
from xinqiao.config.clocks import Clocks
from xinqiao.config.district import District
from xinqiao.config.duty import PhoneEntry
from xinqiao.config.problems import ConfigError
from xinqiao.config.settings import Gateway as Settings
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.bases import Basis, load_bases
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Policy, PolicyError, load_policy
from xinqiao.disclosure.versions import PolicyVersions
from xinqiao.exchange.service import Exchanges
from xinqiao.journal.append import append
from xinqiao.journal.signing import load_public_keys
from xinqiao.referral.crisis import Plan
from xinqiao.referral.declines import Permitted, Refusals
from xinqiao.referral.drills import Drills
from xinqiao.referral.holdings import PhoneBook
from xinqiao.referral.ladder import Ladder
from xinqiao.referral.returns import Returns
from xinqiao.referral.service import Referrals
from xinqiao.screening.cadence import Reports
from xinqiao.screening.datafile import DataFileError
from xinqiao.screening.instruments import InstrumentLibrary, load_instruments
from xinqiao.screening.service import Screening
from xinqiao.screening.signals import Signals
from xinqiao.screening.triage import RulePack, load_triage
from xinqiao.screening.trust import SignalPolicy, load_signal_policy
from xinqiao.server.status import GatewayRoom
from xinqiao.store.engine import Store
from xinqiao.store.holdings import drop, hold
from xinqiao.store.tx import Tx

_DAY_US = 86_400_000_000
_US = timedelta(microseconds=1)
_log = logging.getLogger("xinqiao.config")


@dataclass(frozen=True, slots=True)
class Rules:
    """Disclosure policy, legal bases, instruments, triage, signal policy, district overlay, calendar and expected reports,
    as the files have them."""

    policy: Policy
    bases: Mapping[str, Basis]
    library: InstrumentLibrary
    pack: RulePack
    signals: SignalPolicy
    district: District
    calendar: WorkCalendar
    cadences: Mapping[str, Cadence]

    @property
    def ladder(self) -> tuple[int, ...]:
        """The roles of the district's ladder."""
        return tuple(int(options.Role.Value(f"ROLE_{role}")) for role in self.district.ladder)


def bases_keys(settings: Settings) -> tuple[Ed25519PublicKey, ...] | None:
    """The keys with which the legal bases must be signed; None where the settings take unsigned ones.

    Raises PolicyError where they say neither: what opens doors without consent must have been signed off by somebody.
    """
    if settings.legal_bases_key is not None:
        return load_public_keys(Path(settings.legal_bases_key))
    if not settings.unsigned_legal_bases:
        raise PolicyError(
            f"{Path(settings.legal_bases).name}: name the key it is signed with under `legal_bases_key` in gateway.yaml"
            " (`xinqiao policy sign` signs), or set `unsigned_legal_bases: true` for a demonstration"
        )
    return None


def load_rules(settings: Settings, read: Bundle | None = None) -> Rules:
    """Read what ``settings`` names; ``read`` has what was read of the district already.

    Raises PolicyError, DataFileError or ConfigError.
    """
    district = read.district if read is not None else district_of(settings)
    calendar = read.calendar if read is not None else calendar_of(settings, district)
    library = load_instruments(settings.instruments, settings.instruments_overlay)
    bases = load_bases(Path(settings.legal_bases), bases_keys(settings))
    return Rules(
        load_policy(Path(settings.policy) / "disclosure.yaml"),
        bases,
        library,
        load_triage(Path(settings.triage), library),
        load_signal_policy(Path(settings.policy) / "signals.yaml", bases),
        district,
        calendar,
        read.cadences if read is not None else cadences_of(district, calendar),
    )


def plan_of(district: District) -> Plan:
    """What happens to an emergency that nobody confirms."""
    return Plan(district.crisis.basis, district.crisis.channels, district.crisis.phone_after // _US)


def refusals_of(district: District) -> Refusals:
    """For what a hospital may decline."""
    declines = district.declines
    return Refusals(
        int(types.Tier.Value(f"TIER_{declines.suspected_from}")),
        {each.code: Permitted((each.names.zh, each.names.en), each.suspected) for each in declines.reasons},
    )


def blocked_of(district: District) -> tuple[BlockedPlugin, ...]:
    """The versions of plugins that must not run."""
    return tuple(BlockedPlugin(each.name, each.versions, each.reason) for each in district.plugins.blocked)


def phones_of(district: District) -> PhoneBook:
    """Whom to telephone."""

    def phone(entry: PhoneEntry) -> types.Phone:
        return types.Phone(title_zh=entry.names.zh, title_en=entry.names.en, number=entry.phone, hours=str(entry.hours))

    entries = district.phone_list
    return PhoneBook(
        tuple((str(entry.partner), phone(entry)) for entry in entries if entry.partner),
        tuple(phone(entry) for entry in entries if not entry.partner),
        district.crisis.channels,
    )


@dataclass(frozen=True, slots=True)
class Reloading:
    """Puts changed rules in place in a running gateway."""

    store: Store
    door: Door
    screening: Screening
    signals: Signals
    clocks: Clocks
    ladder: Ladder
    operator: str
    versions: PolicyVersions
    reports: Reports
    exchanges: Exchanges
    referrals: Referrals
    drills: Drills
    returns: Returns
    room: GatewayRoom
    host: AdapterHost

    def reload(self, settings: Settings) -> bool:
        """Read the rules again. False when a file is broken: the old rules stay, and a person is told."""
        try:
            rules = load_rules(settings)
            roles, district = rules.ladder, rules.district
            plan, phones, refusals = plan_of(district), phones_of(district), refusals_of(district)
            self.versions.keep(Path(settings.policy) / "disclosure.yaml", rules.policy)
        except Exception as error:  # whatever is wrong with the new files, the old rules must go on
            known = isinstance(error, (PolicyError, DataFileError, ConfigError, OSError))
            _log.error("ALARM: the new rules are broken, the old ones stay: %s", error if known else type(error))
            broken = type(error).__name__
            self.store.run(lambda tx: self._broken(tx, broken))
            return False

        def use() -> None:
            self.door.policy, self.door.bases = rules.policy, rules.bases
            self.screening.library, self.screening.pack = rules.library, rules.pack
            self.signals.policy = rules.signals
            self.clocks.use(district, rules.calendar)
            self.ladder.roles = roles
            self.reports.use(rules.calendar, rules.cadences)
            self.exchanges.calendar = rules.calendar
            self.referrals.use(plan, district.services, refusals, phones)
            self.drills.plan, self.drills.longest_us = plan, district.crisis.drill_time // _US
            self.returns.terms, self.room.phones = district.return_to_school, phones.emergency

        def put(tx: Tx) -> None:
            drop(tx, self._item)
            pack = rules.pack
            self._record(tx, "config.reloaded", "permit", f"triage:{pack.id}@{pack.version}", rules.policy)
            # Between two commits of the writer, so that no change is made half by the old and half by the new; and
            # never without its row.
            tx.after_commit(use)

        self.store.run(put)
        # After the rules, outside of the writer: adapters end and start here, each within its deadline.
        self.host.block(blocked_of(district))
        return True

    def good(self) -> None:
        """A start with sound files ends what an earlier broken reload left open."""
        self.store.run(lambda tx: drop(tx, self._item))

    @property
    def _item(self) -> str:
        return f"config/{self.store.node}"

    def _broken(self, tx: Tx, reason: str) -> None:
        hold(
            tx, self._item, kind="config", school="", holder=self.operator, deadline_us=tx.now_us + _DAY_US,
            step="mend",
        )  # fmt: skip
        self._record(tx, "config.refused", "deny", reason, self.door.policy)

    def _record(self, tx: Tx, kind: str, decision: str, reason: str, policy: Policy) -> None:
        append(
            tx, kind=kind, decision=decision, actor=self.operator, resource=self._item, reason=reason,
            policy_version=policy.version,
        )  # fmt: skip
