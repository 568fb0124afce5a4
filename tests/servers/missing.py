"""What happens to a test whose server is not there."""

import os
from typing import NoReturn

import pytest


def missing(part: str, reason: str) -> NoReturn:
    """Skip the test that asked for `part`, by name; under SEEDFARM_STRICT=1 fail it."""
    message = f"{part} is missing: {reason}"
    if os.environ.get("SEEDFARM_STRICT") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
