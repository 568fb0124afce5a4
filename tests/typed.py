"""Commands as a user types them, run in this process, which spares the start of another one."""

from typing import NamedTuple

import pytest

from dispatcher.cli import main


class Ended(NamedTuple):
    """What a command said."""

    returncode: int
    stdout: str
    stderr: str


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """Run `farm` with these arguments to its end."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    code, said = ended.value.code, capsys.readouterr()
    return Ended(code if isinstance(code, int) else 0, said.out, said.err)
