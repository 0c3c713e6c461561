"""Who holds the master key, and which suite seals: what the settings may say."""

from pathlib import Path

import pytest
from tests.config.test_config_files import BASE, _load, _problems

from xinqiao.config.crosscheck import check_files
from xinqiao.contract.errors import Refusal
from xinqiao.store.providers import FileProvider, provider_of
from xinqiao.store.vault import VaultTransit

VAULT = """\
  keyring: ring
  key_provider: vault
  suite: sm4-gcm
  vault:
    address: https://vault.example:8200
    key: xinqiao
    token: !env XQ_VAULT_TOKEN
"""


def with_store(text: str) -> str:
    return BASE.replace("  keyring: ring\n", text)


def test_the_default_is_files_and_aes(tmp_path: Path) -> None:
    store = _load(tmp_path, BASE).store
    assert (store.key_provider, store.suite, store.vault) == ("file", "aes-256-gcm", None)
    assert isinstance(provider_of(store), FileProvider)


def test_vault_is_named_with_its_key_and_never_with_its_token(tmp_path: Path) -> None:
    store = _load(tmp_path, with_store(VAULT)).store
    assert isinstance(provider_of(store), VaultTransit)
    assert store.suite == "sm4-gcm"
    assert "XQ_VAULT_TOKEN" in repr(store)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("token: !env XQ_VAULT_TOKEN", "token: hvs.CAESIJ", ("CONFIG/SECRET", 13, 5, "store.vault.token")),
        ("https://vault", "http://vault", ("CONFIG/URL", 11, 5, "store.vault.address")),
        ("https://vault", "https://root@vault", ("CONFIG/URL", 11, 5, "store.vault.address")),
        ("key: xinqiao", "key: ../sys", ("CONFIG/FORMAT", 12, 5, "store.vault.key")),
        ("suite: sm4-gcm", "suite: aes-128-cbc", ("CONFIG/VALUE", 9, 3, "store.suite")),
        ("key_provider: vault", "key_provider: file", ("CONFIG/CONFLICT", 6, 1, "store")),
        ("key_provider: vault", "key_provider: pkcs11", ("CONFIG/CONFLICT", 6, 1, "store")),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, expected: tuple[str, int, int, str]
) -> None:
    assert old in VAULT
    assert _problems(tmp_path, with_store(VAULT.replace(old, new))) == [expected]


def test_vault_without_its_address_is_half_a_setting(tmp_path: Path) -> None:
    text = with_store("  keyring: ring\n  key_provider: vault\n")
    assert [found[0] for found in _problems(tmp_path, text)] == ["CONFIG/CONFLICT"]


def test_a_driver_that_is_not_installed_is_refused_at_the_start(tmp_path: Path) -> None:
    text = with_store('  keyring: ring\n  key_provider: pkcs11\n  key_driver: {module: "/usr/lib/softhsm.so"}\n')
    store = _load(tmp_path, text).store
    assert store.key_driver == {"module": "/usr/lib/softhsm.so"}
    with pytest.raises(Refusal, match="no driver called `pkcs11`"):
        provider_of(store)


@pytest.mark.parametrize("name", ["kek", "kek.2", "kek.10"])
def test_the_newest_key_file_is_looked_at(tmp_path: Path, name: str) -> None:
    settings = _load(tmp_path, BASE)
    ring = tmp_path / "ring"
    ring.mkdir(mode=0o700)

    def said() -> list[tuple[str, str]]:
        found = check_files(settings, allow_repository=True)
        return [(problem.reason, problem.key) for problem in found if problem.key.startswith("store.")]

    assert said() == [("CONFIG/FILE", "store.keyring")]
    for other in ("kek", "kek.2", name):
        (ring / other).write_text("x")
        (ring / other).chmod(0o600)
    assert said() == []
    (ring / max((path.name for path in ring.iterdir()), key=lambda n: int(n[4:] or 1))).chmod(0o644)
    assert said() == [("CONFIG/SECRET_MODE", "store.keyring")]


def test_with_vault_there_is_no_key_file_to_look_for(tmp_path: Path) -> None:
    settings = _load(tmp_path, with_store(VAULT))
    found = check_files(settings, allow_repository=True)
    assert not [problem for problem in found if problem.key == "store.keyring"]
