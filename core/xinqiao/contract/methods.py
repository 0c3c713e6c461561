"""Every RPC as its descriptor declares it: who may call, why, on which lane, and what a repeat does."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from xinqiao.api.casefile.v1 import (
    casefile_service_pb2,
    consent_service_pb2,
    mailbox_service_pb2,
    plan_service_pb2,
    team_service_pb2,
)
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.exchange.v1 import activity_service_pb2, exchange_service_pb2, report_service_pb2
from xinqiao.api.gateway.v1 import access_service_pb2, gateway_service_pb2, retention_service_pb2
from xinqiao.api.referral.v1 import notice_service_pb2, referral_service_pb2, return_service_pb2
from xinqiao.api.screening.v1 import screening_service_pb2

SERVED: tuple[ModuleType, ...] = (
    screening_service_pb2,
    referral_service_pb2,
    notice_service_pb2,
    return_service_pb2,
    casefile_service_pb2,
    consent_service_pb2,
    plan_service_pb2,
    team_service_pb2,
    mailbox_service_pb2,
    exchange_service_pb2,
    activity_service_pb2,
    report_service_pb2,
    gateway_service_pb2,
    retention_service_pb2,
    access_service_pb2,
)


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC. ``path`` is the gRPC path, ``function`` the name of its function in its room."""

    path: str
    service: str
    name: str
    function: str
    request: type[Message]
    response: type[Message]
    purpose: int
    roles: frozenset[int]
    crisis: bool
    idempotency: int
    streaming: bool

    @property
    def mutates(self) -> bool:
        """The call changes state and carries a ``request_id``."""
        return self.idempotency == options.IDEMPOTENCY_REQUEST_ID


class NoPolicy(TypeError):
    """An RPC without a complete policy; the build must not pass."""


def methods(modules: Iterable[ModuleType] = SERVED) -> dict[str, Method]:
    """All RPCs by gRPC path. Raises NoPolicy on an RPC that does not say who may call it, why, and what a repeat does."""
    found: dict[str, Method] = {}
    for module in modules:
        for service in module.DESCRIPTOR.services_by_name.values():
            for descriptor in service.methods:
                method = _method(descriptor)
                found[method.path] = method
    return found


def _method(descriptor: MethodDescriptor) -> Method:
    policy = descriptor.GetOptions().Extensions[options.policy]
    if not policy.purpose or not policy.roles or not policy.idempotency:
        raise NoPolicy(f"{descriptor.full_name} needs (policy) with purpose, roles and idempotency")
    service = descriptor.containing_service
    return Method(
        path=f"/{service.full_name}/{descriptor.name}",
        service=service.full_name,
        name=descriptor.name,
        function=re.sub(r"(?<!^)(?=[A-Z])", "_", descriptor.name).lower(),
        request=GetMessageClass(descriptor.input_type),
        response=GetMessageClass(descriptor.output_type),
        purpose=int(policy.purpose),
        roles=frozenset(int(role) for role in policy.roles),
        crisis=policy.lane == options.LANE_CRISIS,
        idempotency=int(policy.idempotency),
        streaming=descriptor.client_streaming or descriptor.server_streaming,
    )
