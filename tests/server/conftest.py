"""A town with a listener, on each database."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def wire(make_town: Callable[..., Any], database: str) -> Iterator[Any]:
    with make_town(database) as town:
        yield town
