"""The one asynchronous file: every RPC of every contract through one generic gRPC handler."""

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from xinqiao.api.common.v1.options_pb2 import ROLE_OPERATOR
from xinqiao.contract.errors import Refusal
from xinqiao.contract.methods import Method
from xinqiao.disclosure.registry import Partner
from xinqiao.server.identity import Identity
from xinqiao.server.pipeline import Pipeline, security
from xinqiao.server.uploads import Command, Upload
from xinqiao.store.batch import Probe
from xinqiao.store.errors import StoreClosed
from xinqiao.store.queue import Job
from xinqiao.store.tx import Tx

DOMAIN = "xinqiao"
_HEALTH = "/grpc.health.v1.Health/Check"
_QUESTIONS = 64
_QUESTION_S = 10.0  # above every sensible `capacity_wait`, which ends a single question
_NO_DEADLINE_S = 86_400.0 * 365
_log = logging.getLogger("xinqiao.server")
T = TypeVar("T")
_RPC: Any = grpc  # the handlers take bytes, which the stubs cannot say
Storing = asyncio.Task[Message | None]
Context = Any  # grpc.aio.ServicerContext has no useful parameters here


@dataclass(frozen=True, slots=True)
class Limits:
    """What the edge bears from one partner. Bytes, seconds and counts; see ``guarantees.md`` C10."""

    message_bytes: int = 1024 * 1024
    metadata_bytes: int = 8192
    streams_per_connection: int = 100
    max_deadline_s: float = 30.0
    concurrent_per_partner: int = 64
    rate_per_partner: int | None = None
    stream_idle_s: float = 60.0


class Edge(grpc.GenericRpcHandler):
    """Serves a Pipeline. Commands go to the single writer; reads and partner calls to threads; nothing blocks here."""

    def __init__(self, pipeline: Pipeline, identity: Identity, limits: Limits) -> None:
        self._pipeline = pipeline
        self._identity = identity
        self.limits = self._limits = limits
        # A long upload or a slow partner must never keep a crisis read waiting for a thread.
        self._readers = {
            "routine": ThreadPoolExecutor(4, "reader"),
            "crisis": ThreadPoolExecutor(2, "reader-crisis"),
            "bulk": ThreadPoolExecutor(2, "bulk"),
            "partner": ThreadPoolExecutor(2, "partner"),
            # Each sleeps until a hospital answers; how many a hospital may keep is for its own adapter's slots to limit.
            "question": ThreadPoolExecutor(_QUESTIONS, "question"),
        }
        self._buckets: dict[str, tuple[float, float]] = {}
        self._handing: list[Job] = []
        self._answers: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._working: Counter[tuple[str, bool]] = Counter()
        pipeline.store.batch_hooks.append(self._wake)
        self._handlers = {path: self._handler(method) for path, method in pipeline.methods.items()}
        self._handlers[_HEALTH] = grpc.unary_unary_rpc_method_handler(self._health)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Every path we serve; None makes gRPC answer UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)

    def close(self) -> None:
        """Give the reader threads back."""
        for pool in self._readers.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _handler(self, method: Method) -> Any:
        if method.streaming:

            async def stream(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
                async for answer in self._stream(method, requests, context):
                    yield answer

            return _RPC.stream_stream_rpc_method_handler(stream)

        async def unary(data: bytes, context: Context) -> bytes:
            return await self._unary(method, data, context)

        return _RPC.unary_unary_rpc_method_handler(unary)

    async def _unary(self, method: Method, data: bytes, context: Context) -> bytes:
        caller: Partner | None = None
        try:
            caller = self._identity.caller(context.auth_context())
            remaining = self._check_frame(data, context)
            place = self._enter(caller, method)
            try:
                self._pipeline.admit(method, caller)
                request = self._pipeline.request(method, data)
                return await self._run(method, caller, request, data, min(remaining, self._limits.max_deadline_s))
            finally:
                self._working[place] -= 1
        except Refusal as refusal:
            await self._refuse(refusal, method, caller, context)
        except TimeoutError:
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed; repeat with the same request_id"
            )
        except asyncio.CancelledError:
            raise
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await self._broken(error, method, context)
        raise AssertionError("abort always raises")

    async def _run(self, method: Method, caller: Partner, request: Message, data: bytes, timeout: float) -> bytes:
        loop = asyncio.get_running_loop()
        outside = self._pipeline.outside(method)
        if method.mutates and not outside:
            question, answers = self._pipeline.question(method, caller, request), None
            if question is not None:
                pool = "bulk" if self._pipeline.prepares(method) else "question"
                asked = loop.run_in_executor(self._readers[pool], question)
                try:
                    done, _ = await asyncio.wait({asked}, timeout=min(timeout, _QUESTION_S))
                    # Behind too many questions that hang none is waited for: not known counts as a place.
                    answers = asked.result() if done else None
                finally:
                    asked.cancel()  # also of a caller who left: asyncio would log what it raises, text and all
            mutation = self._pipeline.mutation(method, caller, request, data, answers)
            answer = self._write(mutation, method.crisis, mutation.probe)
            # The command cannot be taken back; only the waiting for it ends. A timer of the loop is all it takes.
            timer = loop.call_later(timeout, _late, answer)
            try:
                return await answer
            finally:
                timer.cancel()
        kind = "partner" if outside else "crisis" if method.crisis else "routine"
        async with asyncio.timeout(timeout):
            return await loop.run_in_executor(self._readers[kind], self._pipeline.read, method, caller, request)

    def _write(self, command: Callable[[Tx], T], crisis: bool, probe: Probe | None = None) -> asyncio.Future[T]:
        """Queue a command; the future is set on this loop once its group commit is durable."""
        loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._handing:
            loop.call_soon(self._hand_over)
        self._handing.append(Job(command, partial(self._done, future), crisis, probe))
        return future

    def _done(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._answers.append((future, result, error))

    def _hand_over(self) -> None:
        """All that this turn of the loop brought goes to the writer at once: one wake-up, one commit."""
        jobs, self._handing = self._handing, []
        try:
            self._pipeline.store.submit_all(jobs)
        except StoreClosed as closed:
            for job in jobs:
                job.done(None, closed)
            self._drain()

    def _wake(self) -> None:
        """Called by a writer thread once a batch: one wake-up of the loop for all its answers."""
        loop = self._loop
        if self._answers and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        while self._answers:
            future, result, error = self._answers.popleft()
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

    async def _stream(self, method: Method, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        caller: Partner | None = None
        try:
            caller = self._identity.caller(context.auth_context())
            self._check_frame(b"", context, stream=True)
            place = self._enter(caller, method)
            try:
                self._pipeline.admit(method, caller)
                upload = Upload(self._pipeline, method, caller)
                coming = asyncio.ensure_future(self._in_line(upload, requests, None))
                try:
                    while (storing := await coming) is not None:
                        # The next batch is read, prepared and put in line behind this one: the writer need not wait.
                        coming = asyncio.ensure_future(self._in_line(upload, requests, storing))
                        answer = await storing
                        if answer is not None:
                            yield answer.SerializeToString(deterministic=True)
                finally:
                    coming.add_done_callback(_leave)
                    coming.cancel()
            finally:
                self._working[place] -= 1
        except Refusal as refusal:
            await self._refuse(refusal, method, caller, context)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await self._broken(error, method, context)

    async def _in_line(
        self, upload: Upload, requests: AsyncIterator[bytes], before: "Storing | None"
    ) -> "Storing | None":
        """Prepare the stream's next message and let it be stored, behind ``before``; None at the stream's end."""
        data = await _next(requests, self._limits.stream_idle_s)
        if data is None:
            return None
        self._check_size(data)
        commands = await asyncio.get_running_loop().run_in_executor(self._readers["bulk"], upload.prepare, data)
        return asyncio.ensure_future(self._stored(commands, before))

    async def _stored(self, commands: Sequence[Command], before: "Storing | None") -> Message | None:
        """Run the commands of one message in their order; the answer of the last. Raises what the first to fail did."""
        if not self._pipeline.store.serial:
            if before is not None:
                await asyncio.wait({before})
            answer: Message | None = None
            for command in commands:
                answer = await self._write(command, False)
            return answer
        # One writer keeps their order, so they may share a commit; a crisis command still gets in between.
        results = await asyncio.gather(*(self._write(each, False) for each in commands), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return cast("Message | None", results[-1]) if results else None

    def _check_frame(self, data: bytes, context: Context, *, stream: bool = False) -> float:
        """Check sizes and deadline of a call; the seconds it may still take."""
        self._check_size(data)
        size = 0
        for key, value in context.invocation_metadata() or ():
            size += len(key) + len(value) + 32
        if size > self._limits.metadata_bytes:
            raise Refusal("RESOURCE_EXHAUSTED", "METADATA", f"metadata is over {self._limits.metadata_bytes} bytes")
        left = context.time_remaining()
        remaining = float("inf") if left is None else float(left)
        if not stream and remaining > _NO_DEADLINE_S:
            raise Refusal(
                "INVALID_ARGUMENT", "DEADLINE_REQUIRED", "set a deadline: a call without one can hang for ever"
            )
        if not stream and remaining > self._limits.max_deadline_s + 1:
            context.set_trailing_metadata((("xinqiao-deadline-capped-s", str(int(self._limits.max_deadline_s))),))
        return remaining

    def _check_size(self, data: bytes) -> None:
        if len(data) > self._limits.message_bytes:
            raise Refusal("RESOURCE_EXHAUSTED", "TOO_LARGE", f"a message is over {self._limits.message_bytes} bytes")

    def _enter(self, caller: Partner, method: Method) -> tuple[str, bool]:
        """Take a place; its key, to give it back. One partner's routine calls cannot take the places of another's,
        nor those of its own crisis calls."""
        place = (caller.agency, method.crisis)
        if self._working[place] >= self._limits.concurrent_per_partner:
            raise Refusal("RESOURCE_EXHAUSTED", "OVERLOADED", "too many calls at once", retry_after_s=0.5)
        if not method.crisis:
            self._spend(caller.agency)
        self._working[place] += 1
        return place

    def _spend(self, agency: str) -> None:
        """A token bucket an agency, one second deep; crisis calls are never counted."""
        rate = self._limits.rate_per_partner
        if rate is None:
            return
        now = self._pipeline.store.clock.monotonic()
        tokens, seen = self._buckets.get(agency, (float(rate), now))
        tokens = min(float(rate), tokens + (now - seen) * rate)
        if tokens < 1:
            raise Refusal("RESOURCE_EXHAUSTED", "OVERLOADED", "too many calls a second", retry_after_s=1 / rate)
        self._buckets[agency] = (tokens - 1, now)

    async def _refuse(self, refusal: Refusal, method: Method, caller: Partner | None, context: Context) -> NoReturn:
        if caller is None:
            security.warning("%s %s/%s caller unknown", method.name, refusal.status, refusal.reason)
        elif journal := self._pipeline.refused(refusal, method, caller):
            try:
                await self._write(journal, method.crisis)
            except Exception as error:  # the refusal stands even when the store is failing
                _log.error("a refusal could not be journalled: %s", type(error).__name__)
        status: Any = cast("Any", rpc_status).to_status(to_status(refusal))
        await context.abort(status.code, status.details, status.trailing_metadata)
        raise AssertionError("abort always raises")

    async def _broken(self, error: Exception, method: Method, context: Context) -> NoReturn:
        """Never the exception's text: it may quote a record."""
        reference = secrets.token_hex(4)
        _log.error("%s failed, reference %s", method.name, reference, exc_info=_frames_only(error))
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error, reference {reference}")
        raise AssertionError("abort always raises")

    async def _health(self, data: bytes, context: Context) -> bytes:
        """Only operators may probe; to a partner the service does not exist."""
        try:
            caller = self._identity.caller(context.auth_context())
        except Refusal:
            caller = None
        if caller is None or ROLE_OPERATOR not in caller.roles:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        response = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
        return bytes(response.SerializeToString())


def _late(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _leave(coming: "asyncio.Task[Storing | None]") -> None:
    """What a broken stream leaves in line is stored all the same; asyncio would log what comes of it, unasked."""
    if not coming.cancelled() and coming.exception() is None and (storing := coming.result()) is not None:
        storing.add_done_callback(lambda left: left.cancelled() or left.exception())


async def _next(requests: AsyncIterator[bytes], idle_s: float) -> bytes | None:
    """The next message of a stream, None at its end. A stream that says nothing for long is cut."""
    try:
        return await asyncio.wait_for(anext(requests), idle_s)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        raise Refusal("RESOURCE_EXHAUSTED", "STREAM_IDLE", f"no message for {idle_s:.0f} s; resume later") from None


class _Hidden(Exception):
    """Stands for an exception whose text must not be logged."""


def _frames_only(error: Exception) -> tuple[type[BaseException], BaseException, Any]:
    shown = _Hidden(type(error).__name__)
    return (_Hidden, shown, error.__traceback__)


def to_status(refusal: Refusal) -> status_pb2.Status:
    """`google.rpc.Status` with ErrorInfo, BadRequest and RetryInfo, as the contracts promise."""
    status = status_pb2.Status(code=code_pb2.Code.Value(refusal.status), message=refusal.message)
    info = error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=refusal.metadata)
    details: list[Message] = [info]
    if refusal.violations:
        bad = error_details_pb2.BadRequest()
        for violation in refusal.violations:
            bad.field_violations.add(field=violation.field, reason=violation.reason, description=violation.description)
        details.append(bad)
    if refusal.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(int(refusal.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def make_server(limits: Limits) -> grpc.aio.Server:
    """A gRPC server with the limits that gRPC itself enforces; must be called on its loop."""
    options: Sequence[tuple[str, Any]] = (
        ("grpc.so_reuseport", 0),  # a second gateway on the port must fail loudly
        ("grpc.max_receive_message_length", 4 * limits.message_bytes),  # above our own limit, which gives a reason
        ("grpc.max_metadata_size", 2 * limits.metadata_bytes),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        ("grpc.max_connection_age_ms", 3_600_000),
        ("grpc.max_connection_age_grace_ms", 300_000),  # or a call that never ends would keep its connection for ever
        ("grpc.http2.min_ping_interval_without_data_ms", 300_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    )
    return grpc.aio.server(options=options)
