"""The code tables of ``tables.yaml``, read once."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from xinqiao.api.referral.v1.referral_pb2 import Fitness, ReferralEvent, ReferralState


@dataclass(frozen=True, slots=True)
class Status:
    """A word for RF1-1.4, the event it tells, and the RF1-1.1 it goes with."""

    word: str
    event: ReferralEvent.ValueType
    rf1: str
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """How a state the gateway writes is told: the trigger event and the status."""

    trigger: str
    status: Status


@dataclass(frozen=True, slots=True)
class Tables:
    """All of them, by the words of the contract."""

    status: dict[str, Status]
    told: dict[int, Told]
    rf1_text: dict[str, str]
    priority_text: dict[str, str]
    results: dict[str, str]
    fitness: dict[str, Fitness.ValueType]
    relations: dict[str, str]
    tiers: dict[str, str]


@cache
def tables() -> Tables:
    """The tables as shipped."""
    with resources.files("xinqiao_hospital.hl7").joinpath("tables.yaml").open("rb") as file:
        raw: dict[str, dict[str, Any]] = yaml.safe_load(file)
    status = {
        word: Status(word, ReferralEvent.Value(f"REFERRAL_EVENT_{row['event']}"), row["rf1"], row["text"])
        for word, row in raw["status"].items()
    }
    return Tables(
        status=status,
        told={
            ReferralState.Value(f"REFERRAL_STATE_{state}"): Told(row["trigger"], status[row["status"]])
            for state, row in raw["told"].items()
        },
        rf1_text=raw["rf1_text"],
        priority_text=raw["priority_text"],
        results=raw["results"],
        fitness={word: Fitness.Value(name) for word, name in raw["fitness"].items()},
        relations=raw["relations"],
        tiers=raw["tiers"],
    )
