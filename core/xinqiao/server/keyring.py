"""The key-encryption key of a running gateway: rotated on an operator's word, brought over in the background."""

import threading

from xinqiao.api.common.v1.options_pb2 import PURPOSE_OPERATION
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call, outside_transaction
from xinqiao.disclosure.door import Door
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.tx import Tx

_BATCH = 256
_RESTS = 8  # one part of work, that many of rest: whoever calls meanwhile must not feel it
_TURN_S, _LONGEST_REST_S = 0.6, 0.35  # together less than the second until the next tick
_RETIRED = "keys.retired"


class Keyring:
    """The functions behind the keys' part of ``GatewayService``, and their tick."""

    def __init__(self, store: Store, door: Door) -> None:
        self._store = store
        self._door = door

    @outside_transaction
    def rotate_keys(self, request: rpc.RotateKeysRequest, call: Call) -> rpc.RotateKeysResponse:
        """Begin a rotation. A provider is asked, so it runs outside of a transaction; both its rows are its own."""
        if self._store.keys.rewrapping:  # before the journal says that one begins
            raise _running()
        self._record("keys.rotating", "keks", request.reason, call.caller.id)
        version = self._store.keys.rotate()
        self._record("keys.rotated", f"keks/{version}", request.reason, call.caller.id)
        return rpc.RotateKeysResponse(keys=self._state())

    def get_keys(self, request: rpc.GetKeysRequest, call: Call) -> rpc.GetKeysResponse:
        """How the keys stand."""
        return rpc.GetKeysResponse(keys=self._state())

    @outside_transaction
    def destroy_retired_keys(
        self, request: rpc.DestroyRetiredKeysRequest, call: Call
    ) -> rpc.DestroyRetiredKeysResponse:
        """Destroy what is retired."""
        if self._store.keys.rewrapping:
            raise _running()
        self._tell_retired()  # no version goes that the journal has not seen retired
        self._record("keys.destroying", "keks", request.reason, call.caller.id)
        versions = self._store.keys.destroy_retired()
        for version in versions:
            self._record("keys.destroyed", f"keks/{version}", request.reason, call.caller.id)
        return rpc.DestroyRetiredKeysResponse(versions=versions)

    def tick(self) -> None:
        """Bring some keys over, in small parts with rests between them; get destroyed keys out of the log."""
        keys = self._store.keys
        now = self._store.clock.monotonic
        end = now() + _TURN_S
        while keys.rewrapping and now() < end:
            begin = now()
            keys.rewrap(_BATCH)
            threading.Event().wait(min((now() - begin) * _RESTS, _LONGEST_REST_S))
        keys.overwrite_log()
        if not keys.rewrapping:
            self._tell_retired()

    def _tell_retired(self) -> None:
        """One row a rotation that ended, though a crash came between the end and the row."""
        keks = self._store.keys.state()
        with self._store.read() as reading:
            told = reading.get(tables.meta, _RETIRED)
        if not keks.retired or (told is not None and int(told["value"]) >= keks.current):
            return

        def tell(tx: Tx) -> None:
            if not tx.insert_if_absent(tables.meta, _RETIRED, str(keks.current)):
                tx.update(tables.meta, (_RETIRED,), value=str(keks.current))
            self._append(tx, "keys.retired", f"keks/{keks.current - 1}", "REWRAPPED", "gateway")

        self._store.run(tell)

    def _state(self) -> rpc.KeysState:
        keys = self._store.keys.state()
        return rpc.KeysState(
            current=keys.current, provider=keys.provider, retired=keys.retired, rewrapping=keys.rewrapping,
            left=keys.left, total=keys.total,
        )  # fmt: skip

    def _record(self, kind: str, resource: str, reason: str, actor: str) -> None:
        self._store.run(lambda tx: self._append(tx, kind, resource, reason, actor))

    def _append(self, tx: Tx, kind: str, resource: str, reason: str, actor: str) -> None:
        append(
            tx, kind=kind, decision="permit", actor=actor, purpose=PURPOSE_OPERATION, resource=resource, reason=reason,
            policy_version=self._door.policy.version,
        )  # fmt: skip


def _running() -> Refusal:
    return Refusal("FAILED_PRECONDITION", "ROTATION_RUNNING", "a rotation is under way; it goes on by itself")
