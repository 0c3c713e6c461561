"""A complete temporary gateway: configuration, keys, a certificate for every partner, a real listener.

For tests of the gateway and of plugins, and for demonstrations. Nothing leaves the folder it is given.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import yaml
from google.protobuf.message import Message

from xinqiao.adapters.host import AdapterHost
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao.contract.methods import methods
from xinqiao.journal.signing import create_signing_key
from xinqiao.server.pki import Authority, write_private
from xinqiao.server.runtime import Gateway
from xinqiao.store.keys import KeyStore

_BESIDE = ("policy", "instruments", "triage", "legal_bases", "district_overlay", "documents", "reports")
_METHODS = {method.request: method for method in methods().values()}


def make_deployment(
    folder: Path,
    example: Path,
    *,
    url: str | None = None,
    keys_url: str | None = None,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Write a deployment into ``folder`` and return its configuration file.

    ``example`` is a configuration such as `config/gateway.example.yaml`; the files it names are used where they are.
    The store is two SQLite files in ``folder`` unless ``url`` and ``keys_url`` name another. The listener takes any
    free port of the loopback. No agency has an adapter and there is no exchange, unless ``change`` adds them: it gets
    the parsed settings just before they are written. Raises FileExistsError when ``folder`` holds a deployment.
    """
    settings: dict[str, Any] = yaml.safe_load(example.read_text("utf-8"))
    for name in _BESIDE:
        if settings.get(name):
            settings[name] = str((example.parent / settings[name]).resolve())
    pki = folder / "pki"
    settings["server"]["listen"] = "127.0.0.1:0"
    settings["server"]["tls"].update(
        certificate=str(pki / "gateway.pem"), key=str(pki / "gateway.key"), ca=str(pki / "ca.pem")
    )
    settings["store"].update(
        url=url or f"sqlite:///{folder / 'records.db'}",
        keys_url=keys_url or f"sqlite:///{folder / 'keys.db'}",
        keyring=str(folder / "keyring"),
    )
    settings["journal"]["signing_key"] = str(pki / "journal.key")
    settings["document_key"] = str(pki / "documents.key")
    settings["adapters"], settings["exchanges"] = {}, {}
    if change is not None:
        change(settings)
    _write_keys(folder, settings["partners"])
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    return path


def _write_keys(folder: Path, partners: Mapping[str, Mapping[str, Any]]) -> None:
    pki = folder / "pki"
    pki.mkdir(parents=True, mode=0o700)
    authority = Authority(pki, SystemClock())  # certificates are judged by the machine's clock, whatever the test's
    certificate, key = authority.issue("gateway", dns=["localhost"])
    (pki / "gateway.pem").write_bytes(certificate)
    write_private(pki / "gateway.key", key)
    for name, partner in partners.items():
        certificate, key = authority.issue(name, uris=[str(partner["spiffe"])])
        write_private(pki / "partners" / f"{name}.key", key)
        (pki / "partners" / f"{name}.pem").write_bytes(certificate)
    KeyStore.create(folder / "keyring")
    create_signing_key(pki / "journal.key")
    create_signing_key(pki / "documents.key")


class TemporaryGateway:
    """A gateway on a deployment that ``make_deployment`` wrote, and channels to it as any of its partners.

    A context manager: serves from entry to exit. ``host`` is what adapters exist, none by default.
    """

    def __init__(self, config: Path, *, host: AdapterHost | None = None, clock: Clock | None = None) -> None:
        self.config = config
        self.folder = config.parent
        self._host = host or AdapterHost.load([])
        self._clock = clock
        self._channels: dict[str, grpc.Channel] = {}
        self._gateway: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        """The running gateway. Raises RuntimeError before ``start``."""
        if self._gateway is None:
            raise RuntimeError("the temporary gateway is not running; use it as a context manager")
        return self._gateway

    def start(self, *, listen: bool = True, tick: bool = False, work: bool = True) -> None:
        """Serve. ``tick`` also runs the clock: deadlines, checkpoints, reading from agencies; ``work`` delivers."""
        self._gateway = Gateway(self.config, host=self._host, clock=self._clock)
        self._gateway.start(listen=listen, tick=tick, work=work)

    def stop(self) -> None:
        """Close all channels and stop; harmless when not running."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        if self._gateway is not None:
            self._gateway.stop()
            self._gateway = None

    def __enter__(self) -> "TemporaryGateway":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def credentials(self, partner: str) -> grpc.ChannelCredentials:
        """What ``partner`` connects with."""
        pki = self.folder / "pki"
        return grpc.ssl_channel_credentials(
            (pki / "ca.pem").read_bytes(),
            (pki / "partners" / f"{partner}.key").read_bytes(),
            (pki / "partners" / f"{partner}.pem").read_bytes(),
        )

    def channel(self, partner: str) -> grpc.Channel:
        """A channel as ``partner``, the same one for every call; closed by ``stop``."""
        if partner not in self._channels:
            self._channels[partner] = grpc.secure_channel(
                f"127.0.0.1:{self.gateway.port}",
                self.credentials(partner),
                [("grpc.ssl_target_name_override", "localhost")],
            )
        return self._channels[partner]

    def call(self, partner: str, request: Message, *, timeout_s: float = 20.0) -> Any:
        """A unary call over the wire: the method is the one that takes this request. Raises grpc.RpcError."""
        method = _METHODS[type(request)]
        invoke = self.channel(partner).unary_unary(
            method.path, request_serializer=_encode, response_deserializer=method.response.FromString
        )
        return invoke(request, timeout=timeout_s)

    def call_inside(self, partner: str, request: Message) -> Any:
        """The same without the wire, as what an adapter brings. Raises Refusal."""
        found = self.gateway.registry.find(partner)
        if found is None:
            raise LookupError(f"the configuration has no partner {partner}")
        return self.gateway.pipeline.call(_METHODS[type(request)].path, request, found)


def _encode(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
