"""Whether the hospital has a place, read from its free Slots or from what its HealthcareServices say of themselves."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from xinqiao.api.adapter.v1.adapter_service_pb2 import Capacity, CapacityRequest, CapacityResponse
from xinqiao.contract.clock import Clock, from_us, to_us
from xinqiao_hospital import codes
from xinqiao_hospital.client import FhirClient
from xinqiao_hospital.settings import CapacitySettings
from xinqiao_hospital.wire import Json, as_list, as_object, as_text

_WORDS = {
    "available": Capacity.CAPACITY_AVAILABLE,
    "none": Capacity.CAPACITY_NONE,
    "waitlist": Capacity.CAPACITY_WAITLIST,
    "assessment-required": Capacity.CAPACITY_ASSESSMENT_REQUIRED,
}


class CapacityDesk:
    """Asks one hospital; a service whose token the settings do not know is not asked about at all."""

    def __init__(self, client: FhirClient, settings: CapacitySettings, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock

    def ask(self, request: CapacityRequest, timeout_s: float) -> CapacityResponse:
        """The answer, CAPACITY_UNSPECIFIED where the hospital does not say. Raises PartnerUnavailable, PartnerRefused."""
        if request.service in self._settings.assess_first:
            return CapacityResponse(capacity=Capacity.CAPACITY_ASSESSMENT_REQUIRED)
        token = self._settings.services.get(request.service, "")
        if request.service and not token:
            return CapacityResponse()
        if self._settings.search == "slot":
            return self._slots(token, timeout_s)
        return self._services(token, timeout_s)

    def _slots(self, token: str, timeout_s: float) -> CapacityResponse:
        now = from_us(self._clock.now_us())
        end = now + timedelta(days=max(self._settings.waitlist_days, self._settings.within_days))
        typed = f"&service-type={quote(token, safe='')}" if token else ""
        window = f"start=ge{_instant(now)}&start=le{_instant(end)}"
        bundle = self._search(f"Slot?status=free{typed}&{window}&_sort=start&_count=1", timeout_s)
        starts = [s for slot in _resources(bundle, "Slot") if slot.get("status") == "free" and (s := _start(slot))]
        answer = CapacityResponse(capacity=Capacity.CAPACITY_NONE, as_of_us=_as_of(bundle))
        if starts:
            wait = max((min(starts) - now).days, 0)
            answer.capacity = Capacity.CAPACITY_WAITLIST
            if wait < self._settings.within_days:
                answer.capacity = Capacity.CAPACITY_AVAILABLE
            else:
                answer.wait_days = wait
        return answer

    def _services(self, token: str, timeout_s: float) -> CapacityResponse:
        typed = f"service-type={quote(token, safe='')}&" if token else ""
        bundle = self._search(f"HealthcareService?{typed}_count=50", timeout_s)
        said: list[Capacity.ValueType] = []
        for service in _resources(bundle, "HealthcareService"):
            if service.get("active") is False:
                continue
            concepts = [as_object(concept) for concept in as_list(service.get("characteristic"))]
            for coding in (as_object(c) for concept in concepts for c in as_list(concept.get("coding"))):
                if coding.get("system") == codes.CAPACITY and coding.get("code") in _WORDS:
                    said.append(_WORDS[as_text(coding.get("code"))])
        # The best that any of its services offers is what the hospital offers.
        best = (
            Capacity.CAPACITY_AVAILABLE,
            Capacity.CAPACITY_ASSESSMENT_REQUIRED,
            Capacity.CAPACITY_WAITLIST,
            Capacity.CAPACITY_NONE,
        )
        found = next((word for word in best if word in said), Capacity.CAPACITY_UNSPECIFIED)
        return CapacityResponse(capacity=found, as_of_us=_as_of(bundle) if said else 0)

    def _search(self, query: str, timeout_s: float) -> Json:
        return self._client.get_whole(f"{self._client.base}/{query}", timeout_s)


def _resources(bundle: Json, kind: str) -> list[Json]:
    found = [as_object(as_object(entry).get("resource")) for entry in as_list(bundle.get("entry"))]
    return [resource for resource in found if resource.get("resourceType") == kind]


def _instant(moment: datetime) -> str:
    return quote(moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), safe="")


def _start(slot: Json) -> datetime | None:
    return _moment(as_text(slot.get("start")))


def _as_of(bundle: Json) -> int:
    moment = _moment(as_text(as_object(bundle.get("meta")).get("lastUpdated")))
    return max(to_us(moment), 0) if moment is not None else 0


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
