"""`xinqiao adapters record|replay`: partner traffic with nobody in it, and a partner made of it."""

import signal
import sys
from pathlib import Path
from typing import NamedTuple

from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.api.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from xinqiao.cli.output import as_json, plain, say, when
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal
from xinqiao.testing.replay import Replay


class Wish(NamedTuple):
    """What is to be recorded; 0 minutes end it."""

    agency: str
    reason: str
    minutes: int
    kilobytes: int


def record(texts: Texts, config: Path, partner: str, address: str, wish: Wish, *, json: bool) -> int:
    """Ask the gateway to begin, or to end."""
    with connect(texts, config, partner, address) as remote:
        request = rpc.RecordTrafficRequest(
            request_id=request_id(), agency=wish.agency, minutes=wish.minutes, kilobytes=wish.kilobytes,
            reason=wish.reason,
        )  # fmt: skip
        answer = remote.call(GatewayServiceStub(remote.channel).RecordTraffic, request)
    if json:
        as_json(plain(answer))
    elif answer.file:
        say(texts("record.begun", end=when(answer.end_time_us), file=answer.file))
    else:
        say(texts("record.ended", agency=wish.agency))
    return 0


def replay(texts: Texts, file: Path, lay: Path | None) -> int:
    """Serve until SIGINT or SIGTERM."""
    try:
        partner = Replay(file)
    except (OSError, ValueError) as error:
        raise Refusal("INVALID_ARGUMENT", "USAGE", str(error)) from None
    ends = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with partner:
            files = partner.lay(lay) if lay is not None else []
            host, port = partner.mllp
            say(
                texts(
                    "replay.serves", plugin=partner.plugin, http=partner.http, mllp=f"{host}:{port}", files=len(files)
                )
            )
            sys.stdout.flush()
            signal.sigwait(ends)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0
