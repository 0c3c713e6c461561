"""The second person (四眼原则): who may decide on what somebody else did or asks, and in which order they are asked."""

from collections.abc import Iterable

from xinqiao.api.common.v1.options_pb2 import ROLE_OPERATOR, ROLE_SCHOOL_PSYCHOLOGIST
from xinqiao.disclosure.registry import Partner, Registry

ROLES = (ROLE_SCHOOL_PSYCHOLOGIST, ROLE_OPERATOR)
"""Persons who decide where nothing else is configured."""


def may_second(caller: Partner, school: str, roles: Iterable[int] = ROLES) -> bool:
    """Whether a caller is of those who decide for this school. Its own roles count, not those of its agency.

    An operator decides for every school. Whether the caller is the first person is asked besides.
    """
    held = caller.roles.intersection(roles)
    return ROLE_OPERATOR in held or (bool(held) and school in caller.schools)


def seconds(registry: Registry, school: str, first: str, roles: Iterable[int] = ROLES) -> list[str]:
    """Who may decide on what ``first`` did: the person on duty, else others of the school, else an operator."""
    asked = [*roles]
    others = [each for role in asked if role != ROLE_OPERATOR for each in registry.with_role(role, school)]
    others += registry.with_role(ROLE_OPERATOR) if ROLE_OPERATOR in asked else []
    holder = registry.find(registry.holder(school))
    listed = [*([holder] if holder is not None else []), *others]
    return list(
        dict.fromkeys(each.id for each in listed if each.id != first and may_second(each, school, asked))
    )  # fmt: skip
