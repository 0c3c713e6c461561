"""Further signatures under each checkpoint, by signers that are plugged in: SM2 with SM3, a KMS, a notary.

A distribution offers one under the entry point group ``xinqiao.cosigners``: a function that takes the settings of
``journal.cosigners.<name>`` and returns a `Cosigner`. `xinqiao.testing.cosigning` holds the contract test.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from xinqiao.contract.errors import Refusal
from xinqiao.journal.note import Cosigner

GROUP: Final = "xinqiao.cosigners"


def load_cosigners(configured: Mapping[str, Mapping[str, Any]]) -> tuple[Cosigner, ...]:
    """The configured signers, in the order of the configuration.

    Raises Refusal FAILED_PRECONDITION/CONFIG when one is not installed or does not start: a district that is bound to
    a national algorithm must not find out from an auditor that its journal lacks it.
    """
    return tuple(_load(name, settings) for name, settings in configured.items())


def _load(name: str, settings: Mapping[str, Any]) -> Cosigner:
    found = [each for each in entry_points(group=GROUP) if each.name == name]
    if not found:
        raise _refusal(name, f"no installed distribution offers it under {GROUP}")
    try:
        cosigner: Cosigner = found[0].load()(settings)
    except Exception as error:  # a plugin's text may hold a PIN
        raise _refusal(name, f"it does not start ({type(error).__name__})") from None
    return cosigner


def _refusal(name: str, why: str) -> Refusal:
    return Refusal("FAILED_PRECONDITION", "CONFIG", f"journal.cosigners.{name}: {why}; install or mend it")
