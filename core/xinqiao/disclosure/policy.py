"""The disclosure matrix: `decide` is pure, total, default-deny and deny-overrides; the rules are data."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.contract import plainyaml
from xinqiao.contract.fields import ALL_CLASSES

Relation = Literal["OWN", "PARTY", "NONE"]
Needs = Literal["none", "consent", "basis", "consent_or_basis"]
ConsentWord = Literal["NONE", "GIVEN", "WITHDRAWN", "EXPIRED", "REFUSED", "SUPERSEDED", "DISPUTED"]
_NEVER = options.FIELD_CLASS_COUNSELLING_NOTE


class PolicyError(Exception):
    """A policy file cannot be used: names file and rule."""


class Question(NamedTuple):
    """Everything a decision may depend on, and nothing else.

    ``relation`` is OWN for the agency whose student it is, PARTY for an agency that a record was or is to be handed
    to, NONE otherwise. ``consented`` is the mask of classes that a consent in force names; ``consent`` its state.
    ``basis`` is empty or a registry id; ``basis_state`` VALID, UNKNOWN, NOT_YET, EXPIRED, PURPOSE or RECIPIENT;
    ``basis_classes`` the mask the basis allows. ``agreement`` tells whether a confidentiality agreement is in force.
    """

    role: int
    purpose: int
    field_class: int
    relation: Relation
    consent: ConsentWord = "NONE"
    consented: int = 0
    basis: str = ""
    basis_state: str = ""
    basis_classes: int = 0
    agreement: bool = True


class Decision(NamedTuple):
    """The answer: whether, by which rule, and if not, why (UPPER_SNAKE)."""

    permit: bool
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """One permitting rule."""

    id: str
    roles: frozenset[int]
    purposes: frozenset[int]
    relations: frozenset[str]
    classes: int
    needs: Needs


@dataclass(frozen=True, slots=True)
class Deny:
    """One denying rule; it beats every grant. Empty sets match everything."""

    id: str
    roles: frozenset[int]
    purposes: frozenset[int]
    classes: int
    reason: str


@dataclass(frozen=True, eq=False)
class Policy:
    """A matrix with its version: the file's own word and the first 12 hex digits of its SHA-256."""

    version: str
    grants: tuple[Grant, ...]
    denies: tuple[Deny, ...]
    referrals: tuple[tuple[int, int], ...] = ()
    """(role, purpose), the first that fits counts."""

    def referral_purpose(self, roles: Iterable[int]) -> int:
        """For what a referral goes to an agency of these roles; 0 where it takes none."""
        held = frozenset(roles)
        return next((purpose for role, purpose in self.referrals if role in held), 0)

    def ceiling(self, roles: Iterable[int], purpose: int) -> int:
        """The mask no answer to these roles may exceed, whatever consents and bases say: the edge's second net."""
        return _ceiling(self, frozenset(roles), purpose)

    def asks_consent(self, roles: Iterable[int], purpose: int, relation: str) -> bool:
        """Whether any grant for these roles, purpose and relation looks at a consent; if not, none need be read."""
        return _asks_consent(self, frozenset(roles), purpose, relation)


# A policy never changes, so what it says of a question need be worked out only once.
@lru_cache(maxsize=1024)
def _ceiling(policy: Policy, roles: frozenset[int], purpose: int) -> int:
    mask = 0
    for grant in policy.grants:
        if purpose in grant.purposes and not grant.roles.isdisjoint(roles):
            mask |= grant.classes
    return mask & ~(1 << _NEVER)


@lru_cache(maxsize=1024)
def _asks_consent(policy: Policy, roles: frozenset[int], purpose: int, relation: str) -> bool:
    return any(
        grant.needs not in ("none", "basis")
        and purpose in grant.purposes
        and relation in grant.relations
        and not grant.roles.isdisjoint(roles)
        for grant in policy.grants
    )


def decide(policy: Policy, question: Question) -> Decision:
    """Answer one question. Pure and total: no clock, no database, an answer for every input.

    Deny rules beat grants; a counselling note never goes; without an agreement nothing goes; what no grant names is
    denied. Where a grant lacks only consent or basis, the reason says which.
    """
    bit = 1 << question.field_class
    if question.field_class == _NEVER or question.field_class not in ALL_CLASSES:
        return Decision(False, "core/never-shared", "CLASS_NEVER_SHARED")
    for deny in policy.denies:
        if (
            deny.classes & bit
            and (not deny.roles or question.role in deny.roles)
            and (not deny.purposes or question.purpose in deny.purposes)
        ):
            return Decision(False, deny.id, deny.reason)
    if not question.agreement:
        return Decision(False, "core/agreement", "AGREEMENT_EXPIRED")
    lacking = Decision(False, "core/default-deny", "NOT_IN_POLICY")
    for grant in policy.grants:
        if (
            grant.classes & bit
            and question.role in grant.roles
            and question.purpose in grant.purposes
            and question.relation in grant.relations
        ):
            reason = _lack(grant.needs, question, bit)
            if not reason:
                return Decision(True, grant.id, "")
            if lacking.reason == "NOT_IN_POLICY":
                lacking = Decision(False, grant.id, reason)
    return lacking


def _lack(needs: Needs, question: Question, bit: int) -> str:
    """What a grant still lacks, empty for nothing."""
    if needs == "none":
        return ""
    if needs in ("basis", "consent_or_basis") and question.basis:
        if question.basis_state != "VALID":
            return f"BASIS_{question.basis_state}"
        return "" if question.basis_classes & bit else "BASIS_CLASS"
    if needs == "basis":
        return "NO_BASIS"
    if question.consent == "GIVEN":
        return "" if question.consented & bit else "NOT_CONSENTED"
    return {"NONE": "NO_CONSENT", "EXPIRED": "CONSENT_EXPIRED", "SUPERSEDED": "NO_CONSENT"}.get(
        question.consent, question.consent
    )


@lru_cache(maxsize=8192)
def _verdicts(policy: Policy, question: Question) -> tuple[int, tuple[tuple[int, Decision], ...]]:
    mask = 0
    denied: list[tuple[int, Decision]] = []
    for field_class in ALL_CLASSES:
        decision = decide(policy, question._replace(field_class=field_class))
        if decision.permit:
            mask |= 1 << field_class
        else:
            denied.append((field_class, decision))
    return mask, tuple(denied)


def permitted(policy: Policy, roles: Iterable[int], question: Question) -> tuple[int, Mapping[int, Decision]]:
    """The mask of permitted classes for any of ``roles``, and for each denied class the decision that denied it."""
    return _permitted(policy, frozenset(roles), question)


@lru_cache(maxsize=8192)
def _permitted(policy: Policy, roles: frozenset[int], question: Question) -> tuple[int, Mapping[int, Decision]]:
    mask = 0
    denials: dict[int, Decision] = {}
    for role in roles:
        allowed, denied = _verdicts(policy, question._replace(role=role, field_class=0))
        mask |= allowed
        for field_class, decision in denied:
            if field_class not in denials or denials[field_class].reason == "NOT_IN_POLICY":
                denials[field_class] = decision
    return mask, MappingProxyType({c: d for c, d in denials.items() if not mask >> c & 1})


def _words(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _GrantRule(_Rule):
    id: str
    roles: _Words
    purposes: _Words
    relation: _Words
    classes: _Words
    needs: Needs


class _DenyRule(_Rule):
    id: str
    roles: _Words = ()
    purposes: _Words = ()
    classes: _Words
    reason: str


class _PolicyFile(_Rule):
    version: str
    grants: tuple[_GrantRule, ...]
    denies: tuple[_DenyRule, ...] = ()
    referrals: dict[str, str] = {"HOSPITAL": "TREATMENT"}


def load_policy(path: Path) -> Policy:
    """Read `disclosure.yaml`. Raises PolicyError on an unknown word, a wildcard, or a grant of counselling notes."""
    text = path.read_bytes()
    try:
        parsed = _PolicyFile.model_validate(plainyaml.load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise PolicyError(f"{path.name}: {error}") from None
    grants: list[Grant] = []
    seen: set[str] = set()
    for rule in parsed.grants:
        where = f"{path.name}: grants: {rule.id}"
        if rule.id in seen:
            raise PolicyError(f"{where}: the id stands twice")
        seen.add(rule.id)
        classes = mask_of_names(rule.classes, where)
        if classes >> _NEVER & 1:
            raise PolicyError(f"{where}: CONFIG/POLICY_FORBIDDEN: COUNSELLING_NOTE can never be granted")
        unknown = set(rule.relation) - {"OWN", "PARTY", "NONE"}
        if unknown:
            raise PolicyError(f"{where}: relation {sorted(unknown)} is none of OWN, PARTY, NONE")
        grants.append(
            Grant(
                rule.id,
                frozenset(numbers_of(options.Role, "ROLE_", rule.roles, where)),
                frozenset(numbers_of(options.Purpose, "PURPOSE_", rule.purposes, where)),
                frozenset(rule.relation),
                classes,
                rule.needs,
            )
        )
    denies = tuple(
        Deny(
            rule.id,
            frozenset(numbers_of(options.Role, "ROLE_", rule.roles, rule.id)),
            frozenset(numbers_of(options.Purpose, "PURPOSE_", rule.purposes, rule.id)),
            mask_of_names(rule.classes, rule.id),
            rule.reason,
        )
        for rule in parsed.denies
    )
    where = f"{path.name}: referrals"
    roles = numbers_of(options.Role, "ROLE_", parsed.referrals.keys(), where)
    purposes = numbers_of(options.Purpose, "PURPOSE_", parsed.referrals.values(), where)
    digest = hashlib.sha256(text).hexdigest()[:12]
    return Policy(f"{parsed.version}+{digest}", tuple(grants), denies, tuple(zip(roles, purposes, strict=True)))


def mask_of_names(names: Iterable[str], where: str) -> int:
    """The mask of classes named ``IDENTITY`` and so on. Raises PolicyError on an unknown name or a wildcard."""
    mask = 0
    for number in numbers_of(options.FieldClass, "FIELD_CLASS_", names, where):
        mask |= 1 << number
    return mask


def numbers_of(enum: object, prefix: str, names: Iterable[str], where: str) -> list[int]:
    """The enum numbers of ``names`` without their prefix. Raises PolicyError on an unknown name or a wildcard."""
    known: dict[str, int] = dict(enum.items())  # type: ignore[attr-defined]
    found: list[int] = []
    for name in names:
        if name == "*":
            raise PolicyError(f"{where}: CONFIG/POLICY_FORBIDDEN: name each one, wildcards are not allowed")
        number = known.get(prefix + name, 0)
        if not number:
            choices = ", ".join(k.removeprefix(prefix) for k, v in known.items() if v)
            raise PolicyError(f"{where}: unknown word {name!r}; one of {choices}")
        found.append(number)
    return found
