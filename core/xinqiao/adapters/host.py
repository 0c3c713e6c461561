"""Finds plugins, loads each on its own, and starts the configured agencies: one broken plugin harms no other."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final, cast

import pluggy
from pydantic import BaseModel, ValidationError

from xinqiao.adapters import deprecation, hookspecs, recording
from xinqiao.adapters.agency import AgencyHandle, AgencySpec, broken
from xinqiao.adapters.errors import AdapterConfigError, AdapterError
from xinqiao.adapters.isolation import process as isolated
from xinqiao.adapters.isolation.process import Launch
from xinqiao.adapters.listening import Listening
from xinqiao.adapters.manifest import Manifest, manifest_of
from xinqiao.adapters.protocols import (
    Adapter,
    AdapterKind,
    AgencyContext,
    CapacityAware,
    Exchanger,
    Listener,
    Recipient,
    Source,
)
from xinqiao.adapters.sockets import SocketTransport
from xinqiao.adapters.spool import Seal
from xinqiao.adapters.transport import HttpTransport
from xinqiao.config.problems import ConfigError, render_key
from xinqiao.contract.clock import Clock, SystemClock

__all__ = ["AdapterHost", "AgencyHandle", "AgencySpec", "installed_entry_points"]

_LOG = logging.getLogger("xinqiao.adapters")

GROUP: Final = "xinqiao"
"""Entry point group, pluggy project name."""

_CLOSE_S: Final = 5.0
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_ROLES: Final = (
    ("capacity", CapacityAware),
    ("deliver", Recipient),
    ("read", Source),
    ("exchange", Exchanger),
    ("listen", Listener),
)


def installed_entry_points() -> Iterable[metadata.EntryPoint]:
    """The plugins installed in this environment; nothing of them is imported."""
    return metadata.entry_points(group=GROUP)


@dataclass(frozen=True, slots=True)
class BlockedPlugin:
    """Versions of a plugin that must not run, and why; without versions none of it may."""

    name: str
    versions: Sequence[str]
    reason: str


class _LoadError(Exception):
    """Why one plugin is not used."""


class AdapterHost:
    """The plugins of one gateway and the agencies configured with them."""

    def __init__(
        self,
        kinds: Mapping[str, AdapterKind],
        manifests: Mapping[str, Manifest],
        failures: Mapping[str, str],
        versions: Mapping[str, str] | None = None,
    ) -> None:
        """``versions`` are those of the plugins' distributions; a plugin without one is blocked by name only."""
        self.versions: Final = versions or {}
        self._blocked: Sequence[BlockedPlugin] = ()
        self._starts: dict[str, Callable[[], None]] = {}
        self.kinds: Final = kinds
        self.manifests: Final = manifests
        self.failures: Final = failures
        self._agencies: dict[str, AgencyHandle] = {}
        self._clock: Clock = SystemClock()

    @classmethod
    def load(
        cls,
        allowed: Sequence[str] | None,
        *,
        entry_points: Callable[[], Iterable[metadata.EntryPoint]] = installed_entry_points,
    ) -> "AdapterHost":
        """Load the plugins named in ``allowed`` (None: all that are installed).

        Never raises for what a plugin does: see ``failures``, by plugin name. A plugin that is installed but not
        allowed is not imported; one warning names all of them.
        """
        kinds: dict[str, AdapterKind] = {}
        manifests: dict[str, Manifest] = {}
        failures: dict[str, str] = {}
        unlisted: list[str] = []
        versions: dict[str, str] = {}
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        for point in sorted(entry_points(), key=lambda point: (point.name, point.value)):
            if allowed is not None and point.name not in allowed:
                unlisted.append(point.name)
                continue
            try:
                if point.name in kinds:
                    raise _LoadError("a second distribution offers a plugin of this name; uninstall one")
                kind, manifest = _load(manager, point)
            except _LoadError as e:
                key = point.name if point.name not in kinds else f"{point.name} ({_distribution(point)})"
                failures[key] = str(e)
                _LOG.error("plugin %s is not used: %s", key, e)
            else:
                failures.pop(point.name, None)
                kinds[point.name], manifests[point.name] = kind, manifest
                versions[point.name] = point.dist.version if point.dist is not None else ""
        if unlisted:
            _LOG.warning("plugins installed but not listed in the configuration, not loaded: %s", ", ".join(unlisted))
        return cls(kinds, manifests, failures, versions)

    @property
    def agencies(self) -> Mapping[str, AgencyHandle]:
        """The started agencies by id."""
        return self._agencies

    def settings_models(self) -> Mapping[str, type[BaseModel]]:
        """The settings model of each loaded plugin, by plugin name."""
        return {name: kind.settings for name, kind in self.kinds.items()}

    def start(
        self,
        agencies: Mapping[str, AgencySpec],
        *,
        deployment: str,
        folder: Path,
        clock: Clock | None = None,
        listen: bool = False,
        seal: Callable[[str], Seal] | None = None,
    ) -> Mapping[str, AgencyHandle]:
        """Make the adapter of each agency; ``folder`` gets one private folder an agency.

        With ``listen`` those that can be pushed to open their listeners: the gateway does, a command beside it must not.
        ``seal`` makes what seals an agency's inbox.

        Never raises for one agency: it is FAILED and its ``message`` says why, the others start. Call it once.
        Raises AdapterConfigError when a key is not its spec's id.
        """
        self._clock = clock or self._clock
        for key, spec in agencies.items():
            if key != spec.agency:
                raise AdapterConfigError(f"agency {spec.agency} is listed under another id")
            handle = AgencyHandle(spec, self._declared(spec), self._clock)
            self._agencies[key] = handle
            if spec.enabled:
                sealer = seal and seal(key)
                self._starts[key] = partial(self._begin, handle, spec, deployment, folder / key, sealer, listen)
                if why := self._why_blocked(spec.kind):
                    handle.block(why)
                else:
                    self._starts[key]()
        return self._agencies

    def block(self, blocked: Sequence[BlockedPlugin]) -> None:
        """The kill switch: agencies of these plugin versions are DISABLED from now on, others start again."""
        self._blocked = blocked
        for key, begin in self._starts.items():
            handle = self._agencies[key]
            why = self._why_blocked(handle.kind)
            if why:
                if not handle.blocked:
                    _LOG.error("agency %s: %s", key, why)
                handle.block(why)
            elif handle.blocked:
                handle.unblock()
                begin()

    def record(self, agency: str, path: Path, *, seconds: float, most: int) -> None:
        """Put what passes between this agency and its partner into the new file ``path``, with nobody in it, for so
        many seconds and bytes. Raises KeyError where there is no such agency, AdapterConfigError, OSError.
        """
        handle = self._agencies[agency]
        if handle.manifest is None or handle.kind not in self.kinds:
            raise AdapterConfigError("its plugin does not run")
        words = recording.vocabulary(self.kinds[handle.kind].settings.__module__.partition(".")[0])
        inventor = recording.Inventor(words, frozenset(handle.manifest.codes))
        handle.workers.tape.start(path, handle.kind, inventor, seconds=seconds, most=most)

    def _why_blocked(self, kind: str) -> str:
        version = self.versions.get(kind, "")
        for each in self._blocked:
            if each.name == kind and (not each.versions or version in each.versions):
                return f"plugin {kind} {version} is blocked: {each.reason}".replace("  ", " ")
        return ""

    def _begin(
        self, handle: AgencyHandle, spec: AgencySpec, deployment: str, folder: Path, seal: Seal | None, listen: bool
    ) -> None:
        self._start_one(handle, spec, deployment, folder, seal)
        if listen:
            handle.listen()

    def close(self) -> None:
        """Close every adapter, each within a few seconds; hanging ones are left behind with their daemon threads."""
        for handle in self._agencies.values():
            handle.close(_CLOSE_S)

    def _declared(self, spec: AgencySpec) -> Manifest | None:
        """What the agency declares: its kind's manifest, or its own within that."""
        kind, whole = self.kinds.get(spec.kind), self.manifests.get(spec.kind)
        if kind is None or whole is None or kind.manifest is None or not spec.enabled:
            return whole
        try:
            own = kind.manifest(_settings(kind, spec.settings))
        except (Exception, SystemExit):
            return whole  # starting it fails by the same, and is told there
        return own if not own.beyond(whole) else None

    def _start_one(
        self, handle: AgencyHandle, spec: AgencySpec, deployment: str, folder: Path, seal: Seal | None
    ) -> None:
        try:
            allowed_s = isolated.START_S if spec.isolation == "process" else 0.0
            work = partial(self._create, spec, deployment, folder, seal)
            handle.started(handle.run_with_deadline(work, at_least_s=allowed_s))
        except AdapterError as e:
            handle.failed(e.message)
        except (Exception, SystemExit) as e:
            reference = broken(spec.agency, "create", e)
            handle.failed(f"its adapter broke while starting ({type(e).__name__}); look for {reference} in the log")
        if handle.message:
            _LOG.error("agency %s did not start: %s", spec.agency, handle.message)

    def _create(self, spec: AgencySpec, deployment: str, folder: Path, seal: Seal | None) -> Adapter:
        kind = self.kinds.get(spec.kind)
        if kind is None:
            why = self.failures.get(spec.kind, "no such plugin is installed and listed")
            raise AdapterConfigError(f"plugin {spec.kind}: {why}")
        settings = _settings(kind, spec.settings)
        own = kind.manifest(settings) if kind.manifest is not None else self.manifests[spec.kind]
        if beyond := own.beyond(self.manifests[spec.kind]):
            raise AdapterConfigError(f"its manifest declares more than plugin {spec.kind} can: {', '.join(beyond)}")
        hosts = kind.hosts(settings)
        transport, listening, sockets = HttpTransport(hosts), Listening(kind.listens(settings)), SocketTransport(hosts)
        if listening.allowed and "listen" not in self.manifests[spec.kind].capabilities:
            raise AdapterConfigError(f"plugin {spec.kind} would listen, its manifest does not declare it")
        _make_folder(folder)
        names = dict(spec.names)
        if spec.isolation == "process":
            launch = Launch(
                spec.agency, names, spec.kind, settings, deployment, folder, sorted(hosts),
                list(kind.listens(settings)), [folder.parent.parent], spec.memory_mb, spec.deadline_s, seal,
            )  # fmt: skip
            return self._fitting(isolated.start(launch), spec.kind)
        context = AgencyContext(
            spec.agency, names, deployment, transport, folder, listening, sockets, seal, self._clock
        )
        return self._fitting(kind.create(settings, context), spec.kind)

    def _fitting(self, adapter: Adapter, kind: str) -> Adapter:
        for action, role in _ROLES:
            if action in self.manifests[kind].capabilities and not isinstance(adapter, role):
                raise AdapterConfigError(f"plugin {kind} declares {action}, its adapter has no such method")
        return adapter


def _settings(kind: AdapterKind, settings: Mapping[str, Any] | BaseModel) -> BaseModel:
    if isinstance(settings, kind.settings):
        return settings
    if isinstance(settings, BaseModel):
        raise AdapterConfigError("the settings are of another plugin")
    try:
        return kind.settings.model_validate(dict(settings))
    except ValidationError as e:
        details = e.errors(include_url=False, include_input=False, include_context=False)
        # The text of a plugin's own ValueError may quote the value.
        lines = [
            f"settings.{render_key(d['loc'])}: " + ("not accepted" if d["type"] == "value_error" else d["msg"])
            for d in details
        ]
        raise AdapterConfigError("; ".join(lines)) from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        why = f"its folder cannot be made ({type(e).__name__}); check owner and mode of the data folder"
        raise AdapterConfigError(why) from None


def _load(manager: pluggy.PluginManager, point: metadata.EntryPoint) -> tuple[AdapterKind, Manifest]:
    _check_names(point)
    try:
        module = import_module(point.value)
    except (Exception, SystemExit) as e:
        raise _LoadError(f"importing {point.value} raised {type(e).__name__}: {_line(e)}") from None
    try:
        manager.register(module, point.name)
        manager.check_pending()
        offered: object = manager.subset_hook_caller(hookspecs.xinqiao_adapters.__name__, _others(manager, module))()
    except pluggy.PluginValidationError as e:
        _forget(manager, point.name)
        raise _LoadError(f"a hook is misspelt or takes other arguments: {_line(e)}") from None
    except (Exception, SystemExit) as e:
        _forget(manager, point.name)
        raise _LoadError(f"its hook raised {type(e).__name__}: {_line(e)}") from None
    kind = _the_kind(offered, point.name)
    return kind, _manifest(point, kind)


def _check_names(point: metadata.EntryPoint) -> None:
    """The names that can be compared before anything of the plugin runs."""
    if _NAME.fullmatch(point.name) is None:
        raise _LoadError("its entry point's name must be a lower-case word")
    if point.value != f"xinqiao_{point.name}":
        raise _LoadError(f"its entry point must be {point.name} = 'xinqiao_{point.name}'")
    distribution = _distribution(point)
    if distribution and re.sub(r"[-_.]+", "-", distribution).lower() != f"xinqiao-{point.name}".replace("_", "-"):
        raise _LoadError(f"it comes from distribution {distribution}, not from xinqiao-{point.name}")


def _the_kind(offered: object, name: str) -> AdapterKind:
    # pluggy wraps what each plugin returns into a list; here it is one plugin.
    results = cast("list[object]", offered)
    kinds = cast("Sequence[object]", results[0]) if results and isinstance(results[0], Sequence) else ()
    if len(kinds) != 1:
        raise _LoadError("its hook xinqiao_adapters must return exactly one kind, in a list")
    kind = kinds[0]
    if not isinstance(kind, AdapterKind):
        raise _LoadError(f"its hook must return an AdapterKind, not {type(kind).__name__}")
    if kind.name != name:
        raise _LoadError(f"its kind must be called {name} like its entry point")
    settings = cast(object, kind.settings)
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)):
        raise _LoadError("its kind's settings must be a pydantic model class")
    if not all(callable(part) for part in (kind.create, kind.hosts, kind.simulator, kind.listens)):
        raise _LoadError("its kind's create, hosts, listens and simulator must be callable")
    return kind


def _manifest(point: metadata.EntryPoint, kind: AdapterKind) -> Manifest:
    try:
        manifest = manifest_of(point.value)
    except ConfigError as e:
        raise _LoadError(f"its manifest is not usable:\n{e}") from None
    if manifest.api > deprecation.API:
        later = f"plugin API {manifest.api}, this gateway has {deprecation.API}"
        raise _LoadError(f"its manifest is for {later}: update the gateway (pip install -U xinqiao)")
    if manifest.domain != point.name:
        raise _LoadError(f"its manifest's domain must be {point.name} like its entry point")
    if manifest.settings is not None:
        module, _, name = manifest.settings.partition(":")
        try:
            declared = getattr(import_module(module), name, None)
        except (Exception, SystemExit) as e:
            raise _LoadError(f"its manifest's settings module raised {type(e).__name__}") from None
        if declared is not kind.settings:
            raise _LoadError("its manifest's settings are not the class its kind uses")
    return manifest


def _others(manager: pluggy.PluginManager, module: object) -> list[object]:
    return [plugin for plugin in manager.get_plugins() if plugin is not module]


def _forget(manager: pluggy.PluginManager, name: str) -> None:
    if manager.has_plugin(name):
        manager.unregister(name=name)


def _distribution(point: metadata.EntryPoint) -> str:
    """Name of the distribution; empty for an entry point that a test made."""
    return point.dist.name if point.dist is not None else ""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
