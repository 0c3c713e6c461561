"""Who the partners are: ids, roles, schools served and the confidentiality agreement that lets them receive anything."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xinqiao.api.common.v1.options_pb2 import ROLE_OPERATOR, ROLE_SCHOOL_PLATFORM, ROLE_SCHOOL_PSYCHOLOGIST

Reader = Callable[[str, str], int | None]
"""(agency, contract) -> mask of the classes its adapter declares that it reads, None where it has no adapter."""

_SCHOOL = frozenset({ROLE_SCHOOL_PSYCHOLOGIST, ROLE_SCHOOL_PLATFORM})


@dataclass(frozen=True, slots=True)
class Partner:
    """An agency, or a person of one, with its own certificate.

    ``agency`` is whose pseudonyms and holdings it shares: itself for an agency, the employer for a person.
    The agreement (保密协议, draft Art. 38) holds from ``agreement_from_us`` to ``agreement_to_us``, exclusive.
    """

    id: str
    kind: str
    agency: str
    roles: frozenset[int]
    schools: frozenset[str]
    spiffe: str
    agreement_from_us: int
    agreement_to_us: int
    names: dict[str, str] = field(default_factory=dict[str, str], hash=False)

    def agreement_holds(self, now_us: int) -> bool:
        """Whether a confidentiality agreement is in force."""
        return self.agreement_from_us <= now_us < self.agreement_to_us


def owns(partner: Partner, school: str) -> bool:
    """Whether a partner is of this school; a social worker of another agency who serves it is not."""
    return school in partner.schools and not _SCHOOL.isdisjoint(partner.roles)


class Registry:
    """Partners by id and by SPIFFE id."""

    def __init__(self, partners: Iterable[Partner], on_duty: Callable[[str], str] = lambda school: "") -> None:
        """``on_duty`` says by the district's rosters who is on duty at a school now; empty where it has none."""
        self._on_duty = on_duty
        self._by_id = {partner.id: partner for partner in partners}
        self._by_spiffe = {partner.spiffe: partner for partner in self._by_id.values() if partner.spiffe}

    def find(self, partner: str) -> Partner | None:
        """The partner with this id, or None."""
        return self._by_id.get(partner)

    def by_spiffe(self, spiffe: str) -> Partner | None:
        """The partner whose certificate carries this URI, or None."""
        return self._by_spiffe.get(spiffe)

    def with_role(self, role: int, school: str = "") -> list[Partner]:
        """Partners of a role, in configured order; with ``school``, those that serve it."""
        return [p for p in self._by_id.values() if role in p.roles and (not school or school in p.schools)]

    def holder(self, school: str) -> str:
        """Who holds a school's cases first: who is on duty, else its psychologist, else whoever serves it, else the
        operator. What belongs to no school is the operator's, never some school's psychologist's."""
        duty = self._on_duty(school) if school else ""
        if duty in self._by_id:
            return duty
        found = self.with_role(ROLE_SCHOOL_PSYCHOLOGIST, school) if school else []
        found = found or [p for p in self.all() if school in p.schools] or self.with_role(ROLE_OPERATOR)
        return found[0].id if found else "operator"

    def all(self) -> list[Partner]:
        """Every partner, in configured order."""
        return list(self._by_id.values())
