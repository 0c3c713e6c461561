"""One grid station: gives it visit tasks, brings its visits and weekly reports, by REST, in folders and on phones."""

import hashlib
from collections.abc import Iterator, Sequence

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.files import folders
from xinqiao.adapters.intray import Intray
from xinqiao.adapters.listening import server_context
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.rest import Feed, JsonApi, receipt_of
from xinqiao.adapters.spool import Verdict
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, ReadResponse, Rejected
from xinqiao.api.casefile.v1.consent_pb2 import Recall
from xinqiao.api.casefile.v1.team_pb2 import TaskPackage
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao_community_grid import tasks
from xinqiao_community_grid.door import PATH, Door
from xinqiao_community_grid.forms import Forms
from xinqiao_community_grid.records import Visits
from xinqiao_community_grid.settings import CommunityGridSettings
from xinqiao_community_grid.wire import TASKS

_TIMEOUT_S = 10.0
_READ_S = 12.0  # within the deadline of one item
_RECALLS = ("召回编号", "学生编号", "要求")


class CommunityGridAdapter:
    """A Recipient, Source, Inbox, Listener and Reporter. What it must remember is in the agency's folder, names sealed."""

    def __init__(self, settings: CommunityGridSettings, context: AgencyContext, clock: Clock | None = None) -> None:
        self._settings = settings
        state = context.folder
        only = settings.grids[0] if len(settings.grids) == 1 else ""
        self.tasks = tasks.Tasks(state / "tasks", context.seal, only)
        outbox = settings.outbox if settings.forms else None
        post = f"{settings.door.public_url.rstrip('/')}{PATH}" if settings.door is not None else ""
        self.forms = Forms(context.agency, state, outbox, clock or SystemClock(), post)
        self._listening = context.listening
        self._door: Door | None = None
        self._done = state / "delivered"
        self._visits = Visits(settings, state, self)
        self._intray = Intray(context.spool("inbox"), state, self._visits.judge)
        self._rules = hashlib.sha256(
            settings.model_dump_json(exclude={"rest", "inbox", "outbox"}).encode()
        ).hexdigest()[:16]
        self._api: JsonApi | None = None
        self._feed: Feed | None = None
        if (rest := settings.rest) is not None:
            self._api = JsonApi(rest.base_url, context.http, rest.token)
            self._feed = Feed(self._api, "/visits", self._intray, state / "visits.next", rest.page_size)

    def check(self) -> str:
        """Reach the station's system, or see that both folders are there and the outbox takes files."""
        if self._api is not None:
            self._api.get("/status", _TIMEOUT_S)
            return "grid REST"
        assert self._settings.inbox is not None
        assert self._settings.outbox is not None
        return folders.check(self._settings.inbox, self._settings.outbox)

    def close(self) -> None:
        """Stop listening."""
        if self._door is not None:
            self._door.close()
            self._door = None

    def listen(self) -> None:
        """Open the door for phones, if there is to be one. Raises AdapterConfigError when it cannot be had."""
        chosen = self._settings.door
        if chosen is None or self._door is not None:
            return
        tls = None
        if chosen.certificate is not None and chosen.key is not None:
            tls = server_context(chosen.certificate, chosen.key, None)
        self._door = Door(self._listening.open(chosen.listen, tls), tls, self.forms.knows, self._keep)

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the door is."""
        return self._door.address if self._door is not None else None

    # -- out --------------------------------------------------------------------------------------------------------

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Hand over a task or a recall, once; the receipt is the station's id or the file's name."""
        kind, drill = request.WhichOneof("body"), request.drill
        if kind == "task":
            return self._task(request.request_id, _marked(request.task, drill=drill), timeout_s)
        if kind == "recall":
            return self._recall(request.request_id, request.recall, timeout_s, drill=drill)
        raise RecordRejected("DATA/REQUIRED", "a grid station takes a task or a recall", "DeliverRequest.body")

    def report(self, rejected: Sequence[Rejected]) -> None:
        """Put what was not taken into ``reports/`` of the outbox, a sheet a file; a station without one asks its admin."""
        self._visits.refused(rejected)
        if self._settings.outbox is not None:
            folders.report(self._settings.outbox, rejected)

    # -- in ---------------------------------------------------------------------------------------------------------

    def pushed(self, cursor: str) -> Iterator[ReadResponse]:
        """What phones gave back to a station whose system may be down."""
        self._visits.look()
        if self._feed is not None and self._settings.inbox is not None:
            self._intray.collect(self._settings.inbox, self._rules)
        yield from self._intray.bring(cursor)

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """Ask the station's system or look into the folder, and bring what came; then see to the forms of the week."""
        failed: PartnerUnavailable | PartnerRefused | None = None
        try:
            if self._feed is not None:
                for _ in self._feed.pull(_READ_S):
                    yield ReadResponse()
            elif self._settings.inbox is not None:
                self._intray.collect(self._settings.inbox, self._rules)
        except (PartnerUnavailable, PartnerRefused) as error:
            failed = error  # told at the end: what lies here may be a child in danger
        yield from self._intray.bring(cursor)
        grids = self._settings.grids
        self.forms.write(grids, self.tasks)
        self.forms.tell(grids, self._visits.silent(self.forms.week()))
        if failed is not None:
            raise failed

    # -- what judging asks for --------------------------------------------------------------------------------------

    def ticket(self, grid: str, week: str) -> str:
        """See ``records.Desk``."""
        return self.forms.ticket(grid, week)

    def allot(self, task: str, grid: str) -> None:
        """See ``records.Desk``."""
        self.tasks.allot(task, grid)

    def done(self, task: str) -> None:
        """See ``records.Desk``."""
        self.tasks.done(task)

    # -----------------------------------------------------------------------------------------------------------------

    def _keep(self, body: bytes) -> Verdict:
        return self._intray.put(f"form {hashlib.sha256(body).hexdigest()}", "json", "form", body)

    def _task(self, request_id: str, package: TaskPackage, timeout_s: float) -> DeliverResponse:
        grid = self.tasks.grid_of(package.task.name)
        try:
            self.tasks.take(package)
        except OSError as error:
            raise PartnerUnavailable(f"the task cannot be kept: {error.strerror}") from None
        if self._api is not None:
            answer = self._api.post("/visit-tasks", tasks.body(package, grid), request_id, timeout_s)
            receipt = receipt_of(answer, package.task.name)
        else:
            row = tasks.sheet_row(package, grid)
            receipt = self._file("tasks", f"task-{request_id}.csv", folders.table(TASKS, [row]))
        self.forms.write(self._settings.grids, self.tasks)
        return DeliverResponse(receipt=receipt)

    def _recall(self, request_id: str, recall: Recall, timeout_s: float, *, drill: bool) -> DeliverResponse:
        """Our own forms forget the student at once; the station is told to delete what it has."""
        self.tasks.forget(recall.student)
        if self._api is not None:
            said = {
                "recall": recall.name,
                "student": recall.student,
                "delete": True,
                **({"drill": True, "note": "演练 DRILL"} if drill else {}),
            }
            receipt = receipt_of(self._api.post("/recalls", said, request_id, timeout_s), recall.name)
        else:
            what = "请删除该学生的任务表与手机表单，并书面回复 delete all sheets and forms"
            rows = [[recall.name, recall.student, f"{what}（演练 DRILL）" if drill else what]]
            receipt = self._file("recalls", f"recall-{request_id}.csv", folders.table(_RECALLS, rows))
        self.forms.write(self._settings.grids, self.tasks)
        return DeliverResponse(receipt=receipt)

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
