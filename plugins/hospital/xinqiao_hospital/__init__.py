"""XinQiao adapter for a hospital that speaks HL7 FHIR R4, or HL7 v2 over MLLP."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind, AgencyContext
from xinqiao_hospital.adapter import HospitalAdapter
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


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """One kind: ``hospital``."""
    return [
        AdapterKind(
            "hospital", HospitalSettings, create, hosts, HospitalSimulator, listens=listens, reader=HospitalReader()
        )
    ]
