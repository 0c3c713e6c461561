"""Switching the record of a partner's traffic on and off: on an operator's word, journalled before the first byte."""

import hashlib
from pathlib import Path

from xinqiao.adapters.errors import AdapterConfigError
from xinqiao.adapters.host import AdapterHost
from xinqiao.api.common.v1.options_pb2 import PURPOSE_OPERATION
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call, outside_transaction
from xinqiao.journal.append import append
from xinqiao.store.engine import Store
from xinqiao.store.tx import Tx

_KILOBYTES = 1024
_MINUTE_US = 60_000_000


class Recorder:
    """``RecordTraffic``. A recording is this node's; it is gone from memory, and stays a file, when the node stops."""

    def __init__(self, store: Store, host: AdapterHost, folder: Path) -> None:
        """``folder`` takes the files, each readable by the gateway's own account alone."""
        self._store = store
        self._host = host
        self._folder = folder

    @outside_transaction
    def record_traffic(self, request: rpc.RecordTrafficRequest, call: Call) -> rpc.RecordTrafficResponse:
        """Its row is committed before the tape runs: no row, no bytes."""
        handle = self._host.agencies.get(request.agency)
        if handle is None:
            raise Refusal("NOT_FOUND", "AGENCY", "no adapter is configured under this id")
        if handle.manifest is None:
            raise Refusal("FAILED_PRECONDITION", "NOT_RUNNING", "its plugin did not load: see `xinqiao repairs`")
        if handle.isolation == "process":
            text = "it runs in a process of its own: set `isolation: in-process` for it while you record"
            raise Refusal("FAILED_PRECONDITION", "ISOLATED", text)
        if not request.minutes:
            self._journal("adapter.recorded", request, call, f"{request.reason} ended")
            handle.workers.tape.stop()
            return rpc.RecordTrafficResponse()
        name = f"{request.agency}-{hashlib.sha256(request.request_id.encode()).hexdigest()[:12]}.jsonl"
        if (self._folder / name).exists():
            raise Refusal("ALREADY_EXISTS", "RECORDING", "this call began a recording already: give another request_id")
        kilobytes = request.kilobytes or _KILOBYTES
        self._journal("adapter.recording", request, call, f"{request.reason} minutes:{request.minutes} kB:{kilobytes}")
        try:
            self._host.record(
                request.agency, self._folder / name, seconds=request.minutes * 60.0, most=kilobytes * 1024
            )
        except (OSError, AdapterConfigError) as error:
            text = f"the recording cannot be made ({type(error).__name__}): see owner and mode of {self._folder.name}"
            raise Refusal("UNAVAILABLE", "FOLDER", text) from None
        end_us = self._store.clock.now_us() + request.minutes * _MINUTE_US
        return rpc.RecordTrafficResponse(file=name, end_time_us=end_us)

    def _journal(self, kind: str, request: rpc.RecordTrafficRequest, call: Call, reason: str) -> None:
        def tell(tx: Tx) -> None:
            append(
                tx, kind=kind, decision="permit", actor=call.caller.id, purpose=PURPOSE_OPERATION,
                resource=f"agencies/{request.agency}", reason=reason, policy_version=call.door.policy.version,
            )  # fmt: skip

        self._store.run(tell)
