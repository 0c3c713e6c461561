"""Why a message is not taken: code, reason and place, and never a value of it."""

from typing import Final, Literal

Acknowledgment = Literal["AE", "AR"]

# HL7 table 0357, the code for each reason; what is not here is a field that fails a check (207: application error).
_TABLE_0357: Final = {
    "DELIMITER": "100",
    "FRAME": "100",
    "REQUIRED": "101",
    "IDENTIFIER": "204",
    "TYPE": "102",
    "DATE": "102",
    "ESCAPE": "102",
    "CODE": "103",
    "MESSAGE_TYPE": "200",
    "PROCESSING_ID": "202",
    "VERSION": "203",
    "KEY_REUSED": "205",
}


class Hl7Refused(Exception):
    """One message is refused. ``reason`` is a word such as ``IDENTIFIER``; ``place`` is like ``PID[1]-3`` or ``MSH-18``.

    ``code`` is what the acknowledgment says: AR for a message that cannot be trusted as a whole, AE for a fault in it.
    """

    def __init__(self, code: Acknowledgment, reason: str, message: str, place: str) -> None:
        super().__init__(f"{reason} at {place}: {message}")
        self.code: Acknowledgment = code
        self.reason = reason
        self.message = message
        self.place = place

    @property
    def error_code(self) -> str:
        """The HL7 error code of table 0357."""
        return _TABLE_0357.get(self.reason, "207")
