"""One helpline centre: brings its calls as signals and counts, gives it call-backs and sees whether they were closed."""

import hashlib
from collections.abc import Iterator, Sequence

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.files import folders
from xinqiao.adapters.intray import Intray
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.rest import Feed, JsonApi, receipt_of
from xinqiao.adapters.spool import SpoolFull
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, ReadResponse, Rejected
from xinqiao.api.casefile.v1.consent_pb2 import Recall
from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_OPEN, TaskPackage
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao_hotline import callbacks
from xinqiao_hotline.calls import OVERDUE, Calls
from xinqiao_hotline.settings import HotlineSettings
from xinqiao_hotline.wire import CALLBACKS

_TIMEOUT_S = 10.0
_READ_S = 12.0  # within the deadline of one item
_RECALLS = ("召回编号", "学生编号", "要求")


class HotlineAdapter:
    """A Recipient, Source and Reporter. What it must remember is in the agency's folder, nobody's name in clear."""

    def __init__(self, settings: HotlineSettings, context: AgencyContext, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        state = context.folder
        self.callbacks = callbacks.Callbacks(state / "callbacks")
        self._done = state / "delivered"
        self._calls = Calls(settings, state, self.callbacks, self._clock)
        self._intray = Intray(context.spool("inbox"), state, self._calls.judge)
        self._rules = hashlib.sha256(
            settings.model_dump_json(exclude={"rest", "inbox", "outbox"}).encode()
        ).hexdigest()[:16]
        self._api: JsonApi | None = None
        self._feed: Feed | None = None
        if (rest := settings.rest) is not None:
            self._api = JsonApi(rest.base_url, context.http, rest.token)
            self._feed = Feed(self._api, "/calls", self._intray, state / "calls.next", rest.page_size)

    def check(self) -> str:
        """Reach the centre's system, or see that both folders are there and the outbox takes files."""
        if self._api is not None:
            self._api.get("/status", _TIMEOUT_S)
            return "hotline REST"
        assert self._settings.inbox is not None
        assert self._settings.outbox is not None
        return folders.check(self._settings.inbox, self._settings.outbox)

    def close(self) -> None:
        """Nothing is held between calls."""

    # -- out --------------------------------------------------------------------------------------------------------

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Hand over a call-back or a recall, once; the receipt is the centre's id or the file's name."""
        kind, drill = request.WhichOneof("body"), request.drill
        if kind == "task":
            return DeliverResponse(
                receipt=self._task(request.request_id, _marked(request.task, drill=drill), timeout_s)
            )
        if kind == "recall":
            return DeliverResponse(receipt=self._recall(request.request_id, request.recall, timeout_s, drill=drill))
        raise RecordRejected("DATA/REQUIRED", "a helpline takes a task or a recall", "DeliverRequest.body")

    def report(self, rejected: Sequence[Rejected]) -> None:
        """Put what was not taken or is odd into ``reports/`` of the outbox; a centre without one asks its admin."""
        self._calls.refused(rejected)
        if self._settings.outbox is not None:
            folders.report(self._settings.outbox, rejected)

    # -- in ---------------------------------------------------------------------------------------------------------

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """Ask the centre's system or look into the folder, and bring what came and which call-backs stay open."""
        self._calls.look()
        failed: PartnerUnavailable | PartnerRefused | None = None
        try:
            if self._feed is not None:
                for _ in self._feed.pull(_READ_S):
                    yield ReadResponse()
            elif self._settings.inbox is not None:
                self._intray.collect(self._settings.inbox, self._rules)
        except (PartnerUnavailable, PartnerRefused) as error:
            failed = error  # told at the end: what lies here may be a child in danger
        self._remind()
        yield from self._intray.bring(cursor)
        if failed is not None:
            raise failed

    def _remind(self) -> None:
        """A call-back that was not closed in time is told once, as an item that somebody must mend."""
        for task, since in self.callbacks.overdue(self._clock.now_us(), self._settings.closure_days):
            try:
                self._intray.put(f"{OVERDUE} {task} {since}", OVERDUE, "callbacks", task.encode("ascii"))
            except SpoolFull:
                return

    # ---------------------------------------------------------------------------------------------------------------

    def _task(self, request_id: str, package: TaskPackage, timeout_s: float) -> str:
        if self._api is not None:
            answer = self._api.post("/callbacks", callbacks.body(package), request_id, timeout_s)
            receipt = receipt_of(answer, package.task.name)
        else:
            table = folders.table(CALLBACKS, [callbacks.sheet_row(package)])
            receipt = self._file("callbacks", f"callback-{request_id}.csv", table)
        try:
            if package.task.state == TASK_STATE_OPEN:
                self.callbacks.opened(package.task.name, self._clock.now_us())
            else:
                self.callbacks.closed(package.task.name)
        except OSError as error:
            raise PartnerUnavailable(f"the call-back cannot be kept: {error.strerror}") from None
        return receipt

    def _recall(self, request_id: str, recall: Recall, timeout_s: float, *, drill: bool) -> str:
        if self._api is not None:
            said = {
                "recall": recall.name,
                "student": recall.student,
                "delete": True,
                **({"drill": True, "note": "演练 DRILL"} if drill else {}),
            }
            return receipt_of(self._api.post("/recalls", said, request_id, timeout_s), recall.name)
        asked = "【演练 DRILL】" if drill else ""
        rows = [
            [
                recall.name,
                recall.student,
                f"{asked}请删除该学生的回访表，并书面回复 delete all sheets about the student",
            ]
        ]
        return self._file("recalls", f"recall-{request_id}.csv", folders.table(_RECALLS, rows))

    def _file(self, folder: str, name: str, data: bytes) -> str:
        assert self._settings.outbox is not None
        path = self._settings.outbox / folder / name.replace(":", "_")
        folders.put_once(path, data, self._done)
        return f"{folder}/{path.name}"


def _marked(package: TaskPackage, *, drill: bool) -> TaskPackage:
    """The package, as a drill where the request says so."""
    found = TaskPackage()
    found.CopyFrom(package)
    found.drill = found.drill or drill
    return found
