"""hl7apy as the judge of structure: what leaves this gateway is a message of HL7 v2.5.1 by its STRICT tables."""

import re
from typing import Any, Final, cast

import hl7apy.parser
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException

from xinqiao.adapters.errors import RecordRejected

_LONG: Final = 199
"""hl7apy takes OBX-5 for an ST, whatever OBX-2 says; a text of TX or FT may have 65,536 characters."""


def check_structure(text: str) -> None:
    """Raise RecordRejected where a message breaks the standard's structure."""
    strict = cast(int, VALIDATION_LEVEL.STRICT)
    try:
        shortened = re.sub(rf"[^|\r]{{{_LONG + 1},}}", "text", text)
        message = cast(Any, hl7apy.parser).parse_message(shortened, validation_level=strict, find_groups=True)
        message.validate()
    except HL7apyException as e:
        # Its texts may quote a value; the class says what kind of rule it was.
        why = f"the message breaks the structure of HL7 v2.5.1 ({type(e).__name__})"
        raise RecordRejected("DATA/STRUCTURE", why, "REF_I12") from None
