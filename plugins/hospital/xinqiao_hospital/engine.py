"""A hospital that speaks HL7 v2 and takes the monthly packages over HTTP, for the conformance suite."""

from pathlib import Path
from typing import Any

from xinqiao_hospital.hl7.simulator import Hl7HospitalSimulator
from xinqiao_hospital.simulator import HospitalSimulator


class Hl7Engine(Hl7HospitalSimulator):
    """The engine, with a desk for packages beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "engine", charset="GB18030")
        self._desk = HospitalSimulator(folder / "desk")

    def start(self) -> dict[str, Any]:
        """Serve both."""
        return {**super().start(), "exchange_url": self._desk.start()["exchange_url"]}

    def stop(self) -> None:
        """Stop both."""
        super().stop()
        self._desk.stop()

    def effects(self) -> list[str]:
        """Messages, and receipts of packages."""
        return [*super().effects(), *self._desk.effects()]

    def receipt_public_key_pem(self) -> bytes:
        """The desk's."""
        return self._desk.receipt_public_key_pem()
