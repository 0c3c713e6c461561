"""A streamed upload as the edge drives it: one header, then batches, each prepared on a thread and then committed."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.contract.methods import Method
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.registry import Partner
from xinqiao.screening.service import Screening
from xinqiao.server.pipeline import Pipeline
from xinqiao.store.tx import Tx

if TYPE_CHECKING:
    from xinqiao.screening.upload import OpenUpload, Prepared, Uploads

Command = Callable[[Tx], rpc.UploadAssessmentsResponse | None]


class Upload:
    """One stream's state. ``prepare`` does the work of a message off the writer; the commands it gives only store.

    Run them one after another; the last one's result is the answer to the message.
    """

    def __init__(self, pipeline: Pipeline, method: Method, caller: Partner) -> None:
        self._pipeline = pipeline
        self._method = method
        self._caller = caller
        self._screening = cast(Screening, pipeline.rooms[method.service])
        self._uploads: Uploads | None = None
        self._opened: OpenUpload | None = None
        self._messages = 0
        self._refused = sys.maxsize

    def prepare(self, data: bytes) -> Sequence[Command]:
        """Decode one message and give the commands that make it durable. Raises Refusal."""
        request = cast(rpc.UploadAssessmentsRequest, self._pipeline.request(self._method, data))
        return self.prepare_message(request)

    def prepare_message(self, request: rpc.UploadAssessmentsRequest) -> Sequence[Command]:
        """The same for a message made in this process."""
        if request.WhichOneof("part") == "header":
            if self._opened is not None:
                raise Refusal("INVALID_ARGUMENT", "HEADER", "send one header, first")
            self._opened = self._room().open(request.header, self._caller)
            return (lambda tx: self._room().resume(self._opened_upload(), self._call(tx)),)
        upload, self._messages = self._opened_upload(), self._messages + 1
        with self._pipeline.store.read() as reading:
            prepared = self._room().prepare(upload, request.batch, self._caller, reading)
        number = self._messages
        return [partial(self._store, upload, prepared, number, index) for index in range(len(prepared.parts))]

    def _store(
        self, upload: "OpenUpload", prepared: "Prepared", number: int, index: int, tx: Tx
    ) -> rpc.UploadAssessmentsResponse | None:
        if self._refused < number:  # it was in line already when the answer was a refusal
            raise Refusal("ABORTED", "BATCH_BROKEN", "an earlier batch of the stream was refused: resume the upload")
        try:
            return self._room().store(upload, prepared, index, self._call(tx))
        except Refusal:
            self._refused = min(self._refused, number)
            raise

    def _room(self) -> "Uploads":
        """Made on the thread of the first message: numpy is not loaded at the start, nor ever on the edge's loop."""
        if self._uploads is None:
            from xinqiao.screening.upload import Uploads

            self._uploads = Uploads(self._screening)
        return self._uploads

    def _opened_upload(self) -> "OpenUpload":
        if self._opened is None:
            raise Refusal("INVALID_ARGUMENT", "HEADER", "send the header before the batches")
        return self._opened

    def _call(self, tx: Tx) -> Call:
        return Call(self._caller, self._method, tx, self._pipeline.door)
