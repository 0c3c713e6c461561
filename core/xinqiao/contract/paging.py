"""Page tokens: opaque to callers, a time and an id inside, refused when they are not ours."""

import base64
import binascii
import re

from xinqiao.contract.errors import Refusal

DEFAULT_SIZE = 100
_KEY = re.compile(r"[A-Za-z0-9/_.:-]{1,200}")


def page_size(asked: int) -> int:
    """The size to use for what a request asked; 0 means 100."""
    return asked or DEFAULT_SIZE


def token(order: int, key: str) -> str:
    """The token of the page after the row with this order value and key."""
    return base64.urlsafe_b64encode(f"{order}:{key}".encode()).decode().rstrip("=")


def position(page_token: str) -> tuple[int, str] | None:
    """Where a page begins, None for the first. Raises Refusal INVALID_ARGUMENT/PAGE_TOKEN on a token not ours."""
    if not page_token:
        return None
    try:
        text = base64.b64decode(page_token + "=" * (-len(page_token) % 4), altchars=b"-_", validate=True).decode()
        order, _, key = text.partition(":")
        if not _KEY.fullmatch(key) or not 0 <= int(order) < 2**63:
            raise ValueError
        return int(order), key
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Refusal("INVALID_ARGUMENT", "PAGE_TOKEN", "use next_page_token of the page before, unchanged") from None
