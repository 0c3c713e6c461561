"""A whole gateway with the national suite and its master key in Vault: nothing else changes."""

import yaml

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.store import tables
from xinqiao.store.sealing import SM4_GCM
from xinqiao.testing.vault import VaultSimulator


class Env(str):
    """Written as ``!env NAME``."""

    __slots__ = ()


yaml.SafeDumper.add_representer(Env, lambda dumper, name: dumper.represent_scalar("!env", str(name)))


def test_records_are_sealed_with_sm4_under_a_key_that_vault_holds_and_rotates(make_town, monkeypatch):
    with VaultSimulator() as vault:
        vault.create_key("xinqiao")
        monkeypatch.setenv("XQ_VAULT_TOKEN", vault.token)

        def change(settings):
            settings["store"] |= {
                "suite": "sm4-gcm", "key_provider": "vault",
                "vault": {"address": vault.address, "key": "xinqiao", "token": Env("XQ_VAULT_TOKEN")},
            }  # fmt: skip

        with make_town("sqlite", change=change) as town:
            for path in (town.gate.folder / "keyring").iterdir():
                path.unlink()
            local = town.student()
            assert {bytes(row["sealed"])[1] for row in town.rows(tables.students)} == {SM4_GCM}
            assert {bytes(row["response"])[1] for row in town.rows(tables.requests)} == {SM4_GCM}
            vault.sealed = True
            town.submit(local)
            assert town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": local})).case.student.family_name
            assert town.refusal(town.OPERATOR, gateway.RotateKeysRequest(reason="YEARLY")) == "UNAVAILABLE/KEY_PROVIDER"
            assert [row["kind"] for row in town.journal() if row["kind"].startswith("keys.")] == ["keys.rotating"]
            vault.sealed = False
            keys = town.call(town.OPERATOR, gateway.RotateKeysRequest(reason="YEARLY")).keys
            assert (keys.current, keys.provider) == (2, "vault")
            while town.gate.gateway.store.keys.rewrapping:
                town.gate.gateway.keyring.tick()
            town.gate.gateway.keyring.tick()
            town.call(town.OPERATOR, gateway.DestroyRetiredKeysRequest(reason="YEARLY"))
            kinds = [row["kind"] for row in town.journal() if row["kind"].startswith("keys.")]
            assert kinds == [
                "keys.rotating",
                "keys.rotating",
                "keys.rotated",
                "keys.retired",
                "keys.destroying",
                "keys.destroyed",
            ]
            assert vault.asked[-1].endswith("/trim")
            town.gate.stop()
            town.gate.start(listen=False, work=False)
            assert town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": local})).case.student.family_name
