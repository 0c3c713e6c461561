"""What every key provider must do, as tests: subclass :class:`KeyProviderContract` and give the fixture ``open_provider``.

class TestOurHsm(KeyProviderContract):
    @pytest.fixture
    def open_provider(self, tmp_path):
        return lambda: OurHsm(slot=tmp_path)
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from xinqiao.contract.errors import Refusal
from xinqiao.store.providers import KEY_BYTES, KeyProvider

OpenProvider = Callable[[], KeyProvider]


class KeyProviderContract:
    """The contract of :class:`~xinqiao.store.providers.KeyProvider`.

    ``open_provider`` makes another client of one and the same master key at each call; it has at least one version.
    """

    def test_what_was_wrapped_unwraps_for_every_client(self, open_provider: OpenProvider) -> None:
        one, other = open_provider(), open_provider()
        key, version = os.urandom(KEY_BYTES), one.health()[-1]
        wrapped = one.wrap(version, key)
        assert key not in wrapped
        assert one.unwrap(version, wrapped) == other.unwrap(version, wrapped) == key

    def test_two_keys_and_two_versions_are_never_mixed(self, open_provider: OpenProvider) -> None:
        provider = open_provider()
        keys = [os.urandom(KEY_BYTES) for _ in range(8)]
        old = provider.health()[-1]
        wrapped = [provider.wrap(old, key) for key in keys]
        new = provider.rotate()
        again = [provider.wrap(new, key) for key in keys]
        assert len({*wrapped, *again}) == 16
        assert [provider.unwrap(old, blob) for blob in wrapped] == keys
        assert [provider.unwrap(new, blob) for blob in again] == keys
        for version, blob in ((new, wrapped[0]), (old, again[0])):
            self._refused(provider.unwrap, version, blob)

    def test_a_change_of_any_byte_is_refused(self, open_provider: OpenProvider) -> None:
        provider = open_provider()
        version = provider.health()[-1]
        wrapped = provider.wrap(version, os.urandom(KEY_BYTES))
        for position in range(len(wrapped)):
            changed = bytearray(wrapped)
            changed[position] ^= 1
            self._refused(provider.unwrap, version, bytes(changed))
        for cut in (wrapped[:-1], wrapped[: len(wrapped) // 2], wrapped + b"\0"):
            self._refused(provider.unwrap, version, cut)

    def test_a_rotation_is_seen_by_every_client_and_old_versions_still_unwrap(
        self, open_provider: OpenProvider
    ) -> None:
        one, other = open_provider(), open_provider()
        before, key = one.health(), os.urandom(KEY_BYTES)
        wrapped = one.wrap(before[-1], key)
        new = one.rotate()
        assert new == before[-1] + 1
        assert other.health() == one.health() == [*before, new]
        assert other.unwrap(before[-1], wrapped) == key
        assert one.unwrap(new, other.wrap(new, key)) == key

    def test_a_destroyed_version_and_all_before_it_are_gone_for_every_client(self, open_provider: OpenProvider) -> None:
        one, other = open_provider(), open_provider()
        key, first = os.urandom(KEY_BYTES), one.health()[-1]
        blobs = {first: one.wrap(first, key)}
        for _ in range(3):
            version = one.rotate()
            blobs[version] = one.wrap(version, key)
        newest = max(blobs)
        one.destroy(newest - 2)
        one.destroy(newest - 2)  # harmless when repeated
        assert one.health() == other.health() == [newest - 1, newest]
        for version, blob in blobs.items():
            for client in (one, other):
                if version >= newest - 1:
                    assert client.unwrap(version, blob) == key
                else:
                    self._refused(client.unwrap, version, blob)
                    self._refused(client.wrap, version, key)

    def test_the_newest_version_cannot_be_destroyed(self, open_provider: OpenProvider) -> None:
        provider = open_provider()
        version = provider.health()[-1]
        wrapped = provider.wrap(version, bytes(KEY_BYTES))
        for beyond in (version, version + 7):
            assert self._refused(provider.destroy, beyond) == "KEY_VERSION_IN_USE"
        assert provider.unwrap(version, wrapped) == bytes(KEY_BYTES)

    def test_a_version_that_never_was_is_refused(self, open_provider: OpenProvider) -> None:
        provider = open_provider()
        version = provider.health()[-1]
        wrapped = provider.wrap(version, bytes(KEY_BYTES))
        self._refused(provider.wrap, version + 1, bytes(KEY_BYTES))
        self._refused(provider.unwrap, version + 1, wrapped)

    def test_many_threads_may_use_it_at_once(self, open_provider: OpenProvider) -> None:
        provider = open_provider()
        version = provider.health()[-1]
        keys = [os.urandom(KEY_BYTES) for _ in range(40)]

        def there_and_back(key: bytes) -> bytes:
            return provider.unwrap(version, provider.wrap(version, key))

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(there_and_back, keys)) == keys

    @staticmethod
    def _refused(call: Callable[..., object], *arguments: object) -> str:
        with pytest.raises(Refusal) as refused:
            call(*arguments)
        assert refused.value.status == "FAILED_PRECONDITION"
        return refused.value.reason
