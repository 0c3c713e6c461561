"""XinQiao adapter for a hospital that speaks HL7 FHIR R4."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.settings import HospitalSettings, hosts
from xinqiao_hospital.simulator import HospitalSimulator

__all__ = ["HospitalAdapter", "HospitalSettings", "HospitalSimulator", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """One kind: ``hospital``."""
    return [AdapterKind("hospital", HospitalSettings, HospitalAdapter, hosts, HospitalSimulator)]
