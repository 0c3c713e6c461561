"""Field types of the configuration: each refuses with its own reason and says how to write the value."""

import difflib
import re
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from xinqiao.config.loader import FOLDER
from xinqiao.config.problems import Reason, refusal

_DURATION = re.compile(r"P(?:(\d{1,5})D)?(?:T(?=\d)(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?\Z", re.ASCII)
_LISTEN = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]{1,253}):(0|[1-9][0-9]{0,4})\Z")
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)(?=.*[a-z])([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z"
)
_SPIFFE = re.compile(r"spiffe://[a-z0-9](?:[a-z0-9.-]{0,253}[a-z0-9])?/partner/[a-z0-9]+(?:[-_][a-z0-9]+)*\Z")


def matching(pattern: str, what: str, reason: Reason = "CONFIG/FORMAT") -> AfterValidator:
    """Text that fully matches ``pattern``; ``what`` tells the admin how to write it."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise refusal(reason, "not in the expected form", what)
        return text

    return AfterValidator(check)


def at_most(ceiling: int) -> AfterValidator:
    """A number with a safety ceiling that no configuration may lift."""

    def check(number: int) -> int:
        if number > ceiling:
            raise refusal(
                "CONFIG/BELOW_LEGAL_MINIMUM", "above the ceiling that protects the gateway", f"at most {ceiling}"
            )
        return number

    return AfterValidator(check)


def known_word(known: tuple[str, ...]) -> AfterValidator:
    """An open word list: new words pass, a misspelling of a known word does not."""

    def check(text: str) -> str:
        close = difflib.get_close_matches(text, known, n=1, cutoff=0.85)
        if text not in known and close:
            raise refusal("CONFIG/VALUE", "looks like a misspelling", f"did you mean `{close[0]}`?")
        return text

    return AfterValidator(check)


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None or not any(match.groups()):
        raise refusal("CONFIG/DURATION", "not a duration", "write days, hours, minutes as P7D, PT24H, PT30M")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if length <= timedelta(0):
        raise refusal("CONFIG/DURATION", "a duration must be longer than nothing")
    return length


class WorkingTime(timedelta):
    """A duration of which only working time counts."""


def _limit(value: object) -> object:
    if isinstance(value, str) and value.endswith(" working"):
        length = _duration(value.removesuffix(" working"))
        return WorkingTime(seconds=length.total_seconds()) if isinstance(length, timedelta) else length
    return _duration(value)


def _written(limit: timedelta) -> str:
    return f"PT{int(limit.total_seconds())}S" + (" working" if isinstance(limit, WorkingTime) else "")


def parse_duration(text: str) -> timedelta:
    """ISO 8601 days, hours, minutes and seconds (``P7D``, ``PT30M``, ``P1DT12H``).

    Years and months are refused because their length varies. Raises ValueError.
    """
    length = _duration(text)
    assert isinstance(length, timedelta)
    return length


def _rebased(path: Path, info: ValidationInfo) -> Path:
    if not str(path).strip() or path == Path():
        raise refusal("CONFIG/FORMAT", "a path is needed")
    return _folder(info) / path


def _folder(info: ValidationInfo) -> Path:
    context = cast("dict[str, object]", info.context or {})
    folder = context.get(FOLDER)
    return folder if isinstance(folder, Path) else Path()


def _store_url(url: str, info: ValidationInfo) -> str:
    if url.startswith("sqlite:///") and "?" not in url:
        name = url.removeprefix("sqlite:///")
        if name in ("", ":memory:"):
            raise refusal("CONFIG/URL", "a store in memory forgets everything", "name a file: sqlite:///var/xinqiao.db")
        return f"sqlite:///{_folder(info) / name}"
    if not url.startswith("postgresql+psycopg://"):
        raise refusal("CONFIG/URL", "not a store", "write sqlite:///var/xinqiao.db or postgresql+psycopg://host/name")
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or "password" in parts.query.lower()
        whole = parts.port is None or parts.port > 0
    except ValueError:
        secret, whole = False, False
    if secret:
        raise refusal("CONFIG/SECRET", "a password must not be written in the URL", "use `password: !env NAME`")
    if not whole:
        raise refusal("CONFIG/URL", "not a URL", "write postgresql+psycopg://user@host:5432/name")
    return url


def _listen(text: str) -> str:
    match = _LISTEN.match(text)
    if match is None or int(match[2]) > 65535:
        raise refusal("CONFIG/FORMAT", "not host:port", "as in 127.0.0.1:7443 or [::1]:7443")
    return text


def _partner_url(url: str) -> str:
    hint = "write https://host/path; http only to 127.0.0.1 or [::1]"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise refusal("CONFIG/URL", "not a URL", hint) from None
    if "\\" in url or any(ch.isspace() for ch in url) or not url.isascii():
        raise refusal("CONFIG/URL", "a backslash, space or non-ASCII character in a URL", hint)
    if "@" in parts.netloc:
        raise refusal("CONFIG/URL", "a user name or password in a URL", hint)
    loopback = host in ("127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise refusal("CONFIG/URL", "not an https URL", hint)
    if parts.fragment or not (_is_address(host) or _HOST_NAME.match(host)):
        raise refusal("CONFIG/URL", "not a plain host name or address", hint)
    return url


def _is_address(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    # 64:ff9b::/96 and mapped addresses hide an IPv4 address from an allow-list.
    return address.version == 4 or (address.ipv4_mapped is None and not host.lower().startswith("64:ff9b:"))


def _spiffe(text: str) -> str:
    if not _SPIFFE.match(text):
        raise refusal("CONFIG/FORMAT", "not a partner identity", "write spiffe://<domain>/partner/<partner id>")
    return text


Slug = Annotated[
    str, matching(r"[a-z0-9]+([-_][a-z0-9]+)*", "lower-case letters, digits, - and _"), Field(max_length=64)
]
"""An id: lower-case letters, digits, inner ``-`` and ``_``."""

Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema({"type": "string", "format": "duration"})]
"""ISO 8601 duration of days, hours, minutes, seconds; longer than nothing."""

Limit = Annotated[
    timedelta, PlainValidator(_limit), PlainSerializer(_written, return_type=str), WithJsonSchema({"type": "string"})
]
"""A duration as above; followed by `` working`` (``PT4H working``) only working time counts."""

ConfigPath = Annotated[Path, AfterValidator(_rebased)]
"""A path, relative to the folder of the file it is written in."""

StoreUrl = Annotated[str, AfterValidator(_store_url)]
"""A database URL without password; SQLite paths are relative to the folder of the file."""

Listen = Annotated[str, AfterValidator(_listen)]
"""``host:port`` to listen on; port 0 takes any free port."""

PartnerUrl = Annotated[str, AfterValidator(_partner_url)]
"""For plugin settings: an https URL of a partner (http only to this machine), with nothing hidden in it."""

SpiffeId = Annotated[str, AfterValidator(_spiffe)]
"""``spiffe://<domain>/partner/<partner id>``."""

DistrictCode = Annotated[str, matching(r"[1-9][0-9]{5}", 'six digits of GB/T 2260 in quotes, as in "320583"')]
"""GB/T 2260 code of a district."""

TimeOfDay = Annotated[
    str, matching(r"([01][0-9]|2[0-3]):[0-5][0-9]", 'Beijing time in quotes, as in "02:00"', "CONFIG/SCHEDULE")
]
"""``HH:MM`` in Beijing time."""
