"""The demo's gRPC clients: psychologist, platform, hospital and operator, each with its own certificate."""

from collections.abc import Callable
from typing import Any, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from xinqiao.api.casefile.v1.casefile_service_pb2_grpc import CaseFileServiceStub
from xinqiao.api.casefile.v1.consent_service_pb2_grpc import ConsentServiceStub
from xinqiao.api.exchange.v1.exchange_service_pb2_grpc import ExchangeServiceStub
from xinqiao.api.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from xinqiao.api.referral.v1.notice_service_pb2_grpc import NoticeServiceStub
from xinqiao.api.referral.v1.referral_service_pb2_grpc import ReferralServiceStub
from xinqiao.api.referral.v1.return_service_pb2_grpc import ReturnServiceStub
from xinqiao.api.screening.v1.screening_service_pb2_grpc import ScreeningServiceStub
from xinqiao.cli.demo.deployment import HOSPITAL, OPERATOR, PSYCHOLOGIST, SCHOOL, Deployment


class Clients:
    """Stubs over mTLS channels; ``platform`` is the school's system, ``watch`` the operator's view."""

    def __init__(self, deployment: Deployment, port: int) -> None:
        self.psychologist = psychologist = deployment.channel(PSYCHOLOGIST, port)
        self.hospital = deployment.channel(HOSPITAL, port)
        self.screening = ScreeningServiceStub(psychologist)
        self.referrals = ReferralServiceStub(psychologist)
        self.cases = CaseFileServiceStub(psychologist)
        self.consents = ConsentServiceStub(psychologist)
        self.notices = NoticeServiceStub(psychologist)
        self.returns = ReturnServiceStub(psychologist)
        self.platform = ScreeningServiceStub(deployment.channel(SCHOOL, port))
        self.operator = operator = deployment.channel(OPERATOR, port)
        self.exchange = ExchangeServiceStub(operator)
        self.gateway = GatewayServiceStub(operator)
        self.watch = ReferralServiceStub(operator)


def everything(method: Callable[..., Any], request: Callable[..., Any], field: str) -> list[Any]:
    """All pages of a list RPC."""
    found: list[Any] = []
    token = ""
    while True:
        page = method(request(page_size=500, page_token=token), timeout=20)
        found.extend(getattr(page, field))
        token = page.next_page_token
        if not token:
            return found


def reason_of(error: grpc.RpcError) -> str:
    """`STATUS/REASON` of a refusal, from its ``google.rpc.ErrorInfo``."""
    call = cast("grpc.Call", error)
    status: Any = cast("Any", rpc_status).from_call(call)
    info = error_details_pb2.ErrorInfo()
    if status is not None and status.details:
        status.details[0].Unpack(info)
    return f"{call.code().name}/{info.reason}"
