"""Key providers: the contract on files, on Vault's transit engine and on an installed driver, and their own faults."""

import os
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.store import providers
from xinqiao.store.engine import open_store
from xinqiao.store.keys import KeyStore
from xinqiao.store.providers import FileProvider, KeyProvider, in_use, installed_driver, mismatch
from xinqiao.store.vault import VaultTransit, gone
from xinqiao.testing.key_providers import KeyProviderContract
from xinqiao.testing.vault import VaultSimulator

_PLACE = {"table": "signals", "key": "id1"}


@pytest.fixture
def vault() -> Iterator[VaultSimulator]:
    with VaultSimulator() as simulator:
        simulator.create_key("xinqiao")
        yield simulator


def client(vault: VaultSimulator, key: str = "xinqiao") -> VaultTransit:
    return VaultTransit(vault.address, key, lambda: vault.token)


class TestFiles(KeyProviderContract):
    @pytest.fixture
    def open_provider(self, keyring_dir: Path) -> Callable[[], KeyProvider]:
        return lambda: FileProvider(keyring_dir)


class TestVault(KeyProviderContract):
    @pytest.fixture
    def open_provider(self, vault: VaultSimulator) -> Callable[[], KeyProvider]:
        return lambda: client(vault)


class Token:
    """A stand-in for a PKCS#11 or SDF device: keys are handles in it and never come out."""

    name = "token"

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._slot = FileProvider(Path(settings["slot"]))

    def wrap(self, version: int, key: bytes) -> bytes:
        if version not in self.health():
            raise gone(version)
        return b"T" + self._slot.wrap(version, key)

    def unwrap(self, version: int, wrapped: bytes) -> bytes:
        if version not in self.health():
            raise gone(version)
        if wrapped[:1] != b"T" or len(wrapped) < 2:
            raise mismatch()
        return self._slot.unwrap(version, wrapped[1:])

    def rotate(self) -> int:
        return self._slot.rotate()

    def destroy(self, version: int) -> None:
        if version >= self.health()[-1]:
            raise in_use()
        self._slot.destroy(version)

    def health(self) -> list[int]:
        return self._slot.health()


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = EntryPoint("token", f"{__name__}:Token", providers.DRIVERS)

    def entry_points(group: str, name: str) -> EntryPoints:
        return EntryPoints([found]).select(group=group, name=name)

    monkeypatch.setattr(providers, "entry_points", entry_points)


@pytest.mark.usefixtures("_installed")
class TestInstalledDriver(KeyProviderContract):
    @pytest.fixture
    def open_provider(self, keyring_dir: Path) -> Callable[[], KeyProvider]:
        return lambda: installed_driver("token", {"slot": str(keyring_dir)})


@pytest.mark.parametrize("name", ["pkcs11", "sdf"])
def test_a_driver_that_is_not_installed_is_named_with_what_to_install(name: str) -> None:
    with pytest.raises(Refusal, match=f"entry point `{name}` in the group `xinqiao.key_providers`") as refused:
        installed_driver(name, {})
    assert (refused.value.status, refused.value.reason) == ("FAILED_PRECONDITION", "KEY_DRIVER")


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("sealed", "UNAVAILABLE", "KEY_PROVIDER"),
        ("silent", "UNAVAILABLE", "KEY_PROVIDER"),
        ("denied", "FAILED_PRECONDITION", "KEY_PROVIDER_DENIED"),
    ],
)
def test_a_fault_of_vault_is_told_apart(vault: VaultSimulator, fault: str, status: str, reason: str) -> None:
    wrapped = client(vault).wrap(1, bytes(32))
    setattr(vault, fault, True)
    for call in (lambda: client(vault).unwrap(1, wrapped), lambda: client(vault).health(), client(vault).rotate):
        with pytest.raises(Refusal) as refused:
            call()
        assert (refused.value.status, refused.value.reason) == (status, reason)
        assert vault.token not in refused.value.message


def test_vault_that_is_not_there_and_a_key_that_it_has_not(vault: VaultSimulator) -> None:
    with pytest.raises(Refusal) as refused:
        client(vault, "other").health()
    assert refused.value.reason == "KEY_PROVIDER_KEY"
    with pytest.raises(Refusal) as refused:
        VaultTransit("http://127.0.0.1:9", "xinqiao", lambda: "t").health()
    assert (refused.value.status, refused.value.reason) == ("UNAVAILABLE", "KEY_PROVIDER")


@pytest.mark.parametrize("address", ["http://vault.example:8200", "ftp://127.0.0.1", "vault.example"])
def test_vault_is_never_asked_in_the_clear(address: str) -> None:
    with pytest.raises(Refusal, match="https only"):
        VaultTransit(address, "xinqiao", lambda: "t")


def test_a_token_that_cannot_be_read_is_said(vault: VaultSimulator) -> None:
    def missing() -> str:
        raise LookupError("the secret !env VAULT_TOKEN is empty or not set")

    with pytest.raises(Refusal, match=r"store.vault.token: .*VAULT_TOKEN"):
        VaultTransit(vault.address, "xinqiao", missing).health()


def test_records_are_served_while_vault_is_down_and_read_again_after_a_restart(
    sqlite_urls: tuple[str, str], tmp_path: Path, clock: ManualClock, vault: VaultSimulator
) -> None:
    nowhere = tmp_path / "no-keyring"
    store = open_store(*sqlite_urls, nowhere, clock, provider=client(vault))
    store.keys.ensure(["s1"])
    blob = store.keys.sealer("s1").seal(b"x", **_PLACE)
    vault.sealed, before = True, len(vault.asked)
    store.keys.ensure(["s2"])  # Vault is only needed to start and to rotate: red never waits for it
    assert store.keys.sealer("s2").open(store.keys.sealer("s2").seal(b"y", **_PLACE), **_PLACE) == b"y"
    assert len(vault.asked) == before
    store.close()
    with pytest.raises(Refusal) as refused:
        open_store(*sqlite_urls, nowhere, clock, provider=client(vault))
    assert refused.value.reason == "KEY_PROVIDER"
    vault.sealed = False
    again = open_store(*sqlite_urls, nowhere, clock, provider=client(vault))
    assert again.keys.sealer("s1").open(blob, **_PLACE) == b"x"
    again.close()
    assert not nowhere.exists()


def test_a_deployment_moves_from_files_to_vault_by_a_rotation(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, vault: VaultSimulator
) -> None:
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock)
    keys.ensure(["s1"])
    blob, blind = keys.sealer("s1").seal(b"x", **_PLACE), keys.derive("blind/a")
    keys.close()
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock, provider=client(vault))
    assert keys.state().provider == "file"
    keys.rotate()
    while keys.rewrapping:
        keys.rewrap()
    assert keys.state().provider == "vault"
    keys.destroy_retired()
    keys.close()
    os.unlink(keyring_dir / "kek")
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock, provider=client(vault))
    assert keys.sealer("s1").open(blob, **_PLACE) == b"x"
    assert keys.derive("blind/a") == blind
    keys.close()
    with pytest.raises(Refusal, match="still wrapped by `vault`"):
        KeyStore(KeyStore.create(keyring_dir).parent, sqlite_urls[1], clock)


def test_a_start_that_cannot_open_the_keys_leaves_nothing_open(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, vault: VaultSimulator
) -> None:
    vault.denied = True
    with pytest.raises(Refusal):
        open_store(*sqlite_urls, keyring_dir, clock, provider=client(vault))
    vault.denied = False
    open_store(*sqlite_urls, keyring_dir, clock, provider=client(vault)).close()
