"""One 110 centre: sends it rescue and escort requests, takes its alerts and answers; all by signed webhook."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from xinqiao.adapters.errors import AdapterConfigError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.listening import server_context
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpResponse
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, ReadResponse
from xinqiao.config import Secret
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao_police import cap
from xinqiao_police.desk import Desk, Keys
from xinqiao_police.folder import Folder
from xinqiao_police.handoff import LIFE_S, CallFacts, UsedTokens, handoff_key, issue
from xinqiao_police.notebook import Notebook, Steps
from xinqiao_police.outgoing import envelope, message_id
from xinqiao_police.pushes import Inbox
from xinqiao_police.receiver import Receiver
from xinqiao_police.settings import PoliceSettings
from xinqiao_police.signature import key_of, sign
from xinqiao_police.wire import CAP, JSON, Envelope, beijing, is_object, write_json

_CHECK_S = 10.0
_TOKEN_US: Final = (LIFE_S - 60) * 1_000_000
"""A message with a token is tried no later than a minute before the token ends."""
_LATER = frozenset({408, 425, 429})
_STOP = frozenset({401, 403, 404, 405, 410})
_RECEIPT = re.compile(r"[A-Za-z0-9._:/-]{1,120}", re.ASCII)


class PoliceAdapter:
    """A Recipient, Source and Listener. Holds no connection between calls."""

    reads_spool_only: Final = True

    def __init__(self, settings: PoliceSettings, context: AgencyContext, clock: Clock | None = None) -> None:
        self._settings = settings
        self._context = context
        self._clock = clock or SystemClock()
        self._first = Notebook(context.folder / "first-tries")
        self._taken = Notebook(context.folder / "taken")
        self._receiver: Receiver | None = None
        self._desk: Desk | None = None
        self._inbox: Inbox | None = None
        self._folder: Folder | None = None
        if settings.receiver is not None or settings.inbox is not None:
            spool = context.spool("inbox")
            used = UsedTokens(context.folder / "used-tokens")
            self._desk = Desk(settings, spool, used, self._keys, self._clock)
            self._inbox = Inbox(settings, spool, Steps(context.folder / "steps"), self._taken, self._clock)
            self._folder = Folder(settings.inbox, self._desk) if settings.inbox is not None else None

    def check(self) -> str:
        """Send a signed ping; the centre answers it and does nothing."""
        now_us = self._clock.now_us()
        ping = Envelope("ping", beijing(now_us), {"message": f"ping.{now_us}"})
        self._judged(self._post(ping, f"msg_ping_{now_us}", _CHECK_S))
        return f"Standard Webhooks, {'CAP 1.2' if self._settings.wire == 'cap' else 'JSON'}"

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Send one request; the receipt is the centre's own number for it."""
        body, now_us = request.WhichOneof("body"), self._clock.now_us()
        # A report bears no time of its own, and every try must be the same bytes.
        first_us = self._first.keep(request.request_id, now_us) if body in ("police_report", "call_hand_off") else 0
        webhook_id, token = message_id(request), None
        if body == "call_hand_off":
            # A token lives for minutes: after that a try is another message, with another token.
            number = max(0, now_us - first_us) // _TOKEN_US
            webhook_id = f"{webhook_id}_{number}" if number else webhook_id
            token = self._token(webhook_id, (first_us + number * _TOKEN_US) / 1e6)
        said = envelope(request, sender=self._settings.sender, first_sent_us=first_us, token=token)
        receipt = self._judged(self._post(said, webhook_id, timeout_s))
        if body == "referral":
            self._taken.keep(request.referral.referral.name, now_us)
        return DeliverResponse(receipt=receipt or f"webhook/{webhook_id}")

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """What the centre sent, or put into the folder, and the gateway does not have yet; asks nobody."""
        trouble: PartnerUnavailable | None = None
        if self._folder is not None:
            try:
                yield from self._folder.collect()
            except PartnerUnavailable as e:  # a folder in trouble must not hold up what was pushed
                trouble = e
        if self._inbox is not None:
            yield from self._inbox.pushed(cursor, self._keys())
        if trouble is not None:
            raise trouble

    def listen(self) -> None:
        """Open the receiver, if there is to be one. Raises AdapterConfigError when it or a secret cannot be had."""
        door = self._settings.receiver
        if door is None or self._desk is None or self._receiver is not None:
            return
        try:
            self._keys()
        except PartnerRefused as e:
            raise AdapterConfigError(e.message) from None
        tls = None
        if door.certificate is not None and door.key is not None:
            tls = server_context(door.certificate, door.key, door.client_authority)
        self._receiver = Receiver(self._context.listening.open(door.listen, tls), self._desk, tls=tls)

    def close(self) -> None:
        """Stop listening."""
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the receiver listens."""
        return self._receiver.address if self._receiver is not None else None

    def _token(self, webhook_id: str, now_s: float) -> Callable[[CallFacts], str] | None:
        """Seals what is personal about a call, the same for the same message; None where no key is agreed."""
        keys = _revealed(self._settings.handoff_keys, handoff_key, "handoff_keys")
        if not keys:
            return None
        return partial(
            issue, keys[0], audience=self._settings.handoff_audience, now_s=now_s, life_s=LIFE_S, token_id=webhook_id
        )  # fmt: skip

    def _keys(self) -> Keys:
        settings = self._settings
        return Keys(
            _revealed(settings.verify_with, key_of, "verify_with"),
            _revealed(settings.handoff_keys, handoff_key, "handoff_keys"),
        )

    def _post(self, said: Envelope, webhook_id: str, timeout_s: float) -> HttpResponse:
        settings = self._settings
        as_cap = settings.wire == "cap"
        body = cap.write(said, sender=settings.sender) if as_cap else write_json(said)
        keys = _revealed(settings.sign_with, key_of, "sign_with")
        # The time is of this try, so that a late one is not taken for a replay; the id and the body are of the first.
        signed = sign(keys, webhook_id, self._clock.now_us() // 1_000_000, body)
        headers = {"Content-Type": CAP if as_cap else JSON, "Idempotency-Key": webhook_id, **signed}
        return self._context.http.request("POST", settings.url, headers=headers, body=body, timeout_s=timeout_s)

    @staticmethod
    def _judged(answer: HttpResponse) -> str:
        """The centre's number for what it took; empty where it gives none."""
        if 200 <= answer.status < 300:
            return _receipt(answer)
        if answer.status >= 500 or answer.status in _LATER:
            raise PartnerUnavailable(f"the 110 centre answered {answer.status}", _retry_after(answer))
        if answer.status in _STOP:
            why = f"the 110 centre answered {answer.status}; check url, sign_with and both clocks with it"
            raise PartnerRefused("PARTNER/STATUS", why)
        why = f"the 110 centre refused this message ({answer.status}); ask it what it lacks"
        raise RecordRejected("PARTNER/REFUSED", why, "webhook")


def _receipt(answer: HttpResponse) -> str:
    try:
        found: object = json.loads(answer.body) if answer.body.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if not is_object(found):  # the page of a proxy says nothing of the centre, and a cry for help would be lost
        raise PartnerUnavailable("what answered is not the 110 centre (neither JSON nor an empty body); check url")
    receipt = found.get("receipt")
    return receipt if isinstance(receipt, str) and _RECEIPT.fullmatch(receipt) else ""


def _retry_after(answer: HttpResponse) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else None


def _revealed(secrets: Sequence[Secret], form: Callable[[str], bytes], name: str) -> tuple[bytes, ...]:
    """The keys. Raises PartnerRefused: one is not where the settings say, others may read it, or it is no key."""
    found: list[bytes] = []
    for secret in secrets:
        try:
            found.append(form(secret.reveal()))
        except (LookupError, OSError):
            why = f"{name}: {secret} is empty, missing or readable by others; set it"
            raise PartnerRefused("EGRESS/SECRET", why) from None
        except ValueError as e:
            raise PartnerRefused("EGRESS/SECRET", f"{name}: {secret}: {e}") from None
    return tuple(found)
