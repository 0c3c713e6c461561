"""The FHIR conversation: requests, and what each kind of answer means for the gateway."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.adapters.transport import HttpResponse, HttpTransport
from xinqiao.config import Secret
from xinqiao.contract.clock import Clock, to_us
from xinqiao_hospital.outcomes import error_of, later
from xinqiao_hospital.settings import HospitalSettings
from xinqiao_hospital.wire import Json, JsonRefused, Parsed, as_object, is_object, parse
from xinqiao_hospital.witness import Witness

FHIR_JSON = "application/fhir+json"
_MAX_WAIT_S = 86_400.0
_VERSION = re.compile(r"fhirversion\s*=\s*\"?([0-9.]{1,10})", re.IGNORECASE)


class FhirClient:
    """Speaks to one FHIR server; every answer comes back as JSON or as one of the adapter errors."""

    def __init__(self, settings: HospitalSettings, http: HttpTransport, clock: Clock) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock

    @property
    def base(self) -> str:
        return self._settings.base_url

    def get(self, url: str, timeout_s: float) -> Parsed:
        """The JSON at ``url``, faults in it still to be looked at."""
        return self._read(self._send("GET", url, None, {}, timeout_s))

    def get_whole(self, url: str, timeout_s: float) -> Json:
        """The JSON object at ``url``, refused if anything in it is faulty."""
        return _whole(self.get(url, timeout_s))

    def get_if_offered(self, url: str, timeout_s: float) -> Parsed | None:
        """As ``get``; None where the server does not offer this kind of request."""
        answer = self._send("GET", url, None, {}, timeout_s)
        return None if answer.status in (400, 404, 405, 410, 501) else self._read(answer)

    def write(
        self, method: str, url: str, body: bytes, timeout_s: float, *, if_match: str = "", if_none_exist: str = "",
        witness: Witness | None = None,
    ) -> Json:  # fmt: skip
        """Send a resource; the answer's JSON, empty where the server sends none. ``witness`` rides in a header."""
        headers = {"Content-Type": f"{FHIR_JSON}; charset=utf-8"}
        if if_match:
            headers["If-Match"] = if_match
        if if_none_exist:
            headers["If-None-Exist"] = if_none_exist
        if witness is not None:
            headers |= witness.headers()
        answer = self._send(method, url, body, headers, timeout_s)
        if witness is not None:
            witness.hear(answer.headers)
        if if_match and answer.status in (409, 412):
            raise PartnerUnavailable("the hospital changed the Task meanwhile; tried again with its new version", 1.0)
        if 200 <= answer.status < 300 and not answer.body:
            return {}
        return _whole(self._read(answer))

    def send_package(self, body: bytes, request_id: str, timeout_s: float) -> HttpResponse:
        """Post a monthly package. Any status but 2xx is raised."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Idempotency-Key": request_id}
        answer = self._send("POST", self._settings.exchange_address, body, headers, timeout_s)
        if 200 <= answer.status < 300:
            return answer
        self._raise_common(answer)
        reason = "EXCHANGE/CONFLICT" if answer.status == 409 else "EXCHANGE/REFUSED"
        raise PartnerRefused(reason, f"the hospital refused the package (HTTP {answer.status}); ask its administrator")

    def _send(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], timeout_s: float
    ) -> HttpResponse:
        sent = {"Accept": FHIR_JSON, **headers}
        if self._settings.token is not None:
            sent["Authorization"] = f"Bearer {revealed(self._settings.token)}"
        return self._http.request(method, url, headers=sent, body=body, timeout_s=timeout_s)

    def _read(self, answer: HttpResponse) -> Parsed:
        self._raise_common(answer)
        kind = answer.headers.get("content-type", "")
        name = kind.partition(";")[0].strip().lower()
        if 200 <= answer.status < 300:
            if name not in (FHIR_JSON, "application/json"):
                raise _not_json(name)
            version = _VERSION.search(kind)
            if version and not version.group(1).startswith("4.0"):
                raise PartnerRefused(
                    "PARTNER/FHIR_VERSION", "the hospital answered in another FHIR release; set it to R4"
                )
            try:
                return parse(answer.body)
            except JsonRefused as e:
                raise PartnerRefused(e.reason, f"the hospital's answer at {e.place}: {e.message}") from None
        raise error_of(answer.status, _outcome(answer))

    def _raise_common(self, answer: HttpResponse) -> None:
        if later(answer.status):
            wait = self._wait(answer.headers.get("retry-after", ""))
            raise PartnerUnavailable(f"the hospital answered HTTP {answer.status}; tried again later", wait)
        if answer.status in (401, 403):
            raise PartnerRefused(
                "PARTNER/UNAUTHORIZED", f"HTTP {answer.status}: the hospital does not accept this gateway's token"
            )

    def _wait(self, text: str) -> float | None:
        """Seconds of a Retry-After header, given as seconds or as a date; None where it says nothing usable."""
        if text.isascii() and text.isdigit() and len(text) <= 9:
            return min(float(text), _MAX_WAIT_S)
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(max((to_us(aware) - self._clock.now_us()) / 1_000_000, 0.0), _MAX_WAIT_S)


def revealed(secret: Secret) -> str:
    """The secret. Raises PartnerRefused when it is not where the settings say, or others may read it."""
    try:
        return secret.reveal()
    except (LookupError, OSError):
        raise PartnerRefused("EGRESS/SECRET", f"{secret} is empty, missing or readable by others; set it") from None


def _whole(parsed: Parsed) -> Json:
    try:
        value: object = parsed.clean()
    except JsonRefused as e:
        raise PartnerRefused(e.reason, f"the hospital's answer at {e.place}: {e.message}") from None
    if not is_object(value):
        raise PartnerRefused("DATA/PROFILE", "the hospital's answer is not a FHIR resource")
    return value


def _not_json(name: str) -> PartnerRefused:
    said = "XML" if "xml" in name and "html" not in name else "HTML" if "html" in name else "no FHIR JSON"
    hint = "that is a web page, check base_url" if said == "HTML" else f"the server must answer {FHIR_JSON}"
    return PartnerRefused("PARTNER/CONTENT_TYPE", f"the hospital answered {said}; {hint}")


def _outcome(answer: HttpResponse) -> Json:
    """The OperationOutcome of a refusal, empty where the body is none."""
    try:
        return as_object(parse(answer.body).clean())
    except JsonRefused:
        return {}
