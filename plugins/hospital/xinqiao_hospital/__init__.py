"""XinQiao adapter for a hospital that speaks HL7 FHIR R4, or HL7 v2 over MLLP."""

from collections.abc import Sequence
from functools import cache

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.manifest import Manifest, manifest_of
from xinqiao.adapters.protocols import AdapterKind, AgencyContext
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.engine import Hl7Engine
from xinqiao_hospital.files import HospitalReader
from xinqiao_hospital.hl7.adapter import Hl7Hospital
from xinqiao_hospital.settings import HospitalSettings, hosts, listens
from xinqiao_hospital.simulator import HospitalSimulator

__all__ = ["HospitalAdapter", "HospitalSettings", "HospitalSimulator", "xinqiao_adapters"]


def create(settings: HospitalSettings, context: AgencyContext) -> HospitalAdapter | Hl7Hospital:
    """The adapter of the protocol that the hospital speaks."""
    if settings.protocol == "fhir" or settings.hl7 is None:
        return HospitalAdapter(settings, context)
    packages = HospitalAdapter(settings, context) if settings.exchange_url else None
    return Hl7Hospital(settings.hl7, context, packages=packages)


@cache
def _whole() -> Manifest:
    return manifest_of("xinqiao_hospital")


def declared(settings: HospitalSettings) -> Manifest:
    """HL7 v2 has no message for a recall: the gateway lets a person ask in writing, as where nobody can be told."""
    whole = _whole()
    if settings.protocol == "fhir":
        return whole
    contracts = whole.contracts
    kept = contracts.model_copy(
        update={
            "written": tuple(use for use in contracts.written if use.contract != "recall"),
            "read": tuple(use for use in contracts.read if use.contract != "recall_receipt"),
        }
    )
    return whole.model_copy(update={"contracts": kept})


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """One kind: ``hospital``."""
    return [
        AdapterKind(
            "hospital",
            HospitalSettings,
            create,
            hosts,
            HospitalSimulator,
            listens=listens,
            reader=HospitalReader(),
            manifest=declared,
            variants={"hl7": Hl7Engine},
        )
    ]
