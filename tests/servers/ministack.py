"""ministack: a small S3 server that checks digests and conditions, though not signatures.

It pins botocore exactly, so it lives in an environment of its own, made on first use.
"""

import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers.program import Program, ServerError, free_port, listens
from servers.s3 import S3Server

REQUIREMENT = "ministack==1.5.33"
HOME = Path(__file__).resolve().parents[2] / ".venv-s3"


def install_ministack(home: Path = HOME) -> Path:
    """Make the environment unless it is there; return the program. Raises `ServerError`."""
    stamp = home / REQUIREMENT
    home.mkdir(exist_ok=True)
    with _locked(home):
        if not stamp.exists():
            _run(sys.executable, "-m", "venv", "--clear", str(home))
            _run(str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", REQUIREMENT)
            stamp.touch()
    return home / "bin" / "ministack"


def start_ministack(binary: Path, folder: Path) -> tuple[Program, S3Server]:
    """Start a server that keeps nothing."""
    port = free_port()
    server = S3Server("ministack", f"http://127.0.0.1:{port}", secrets.token_hex(8), secrets.token_hex(16))
    env = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "BIND_HOST": "127.0.0.1",  # else it binds every interface
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }
    program = Program([str(binary)], log=folder / "ministack.log", env=env)
    program.start(lambda: listens(port))
    return program, server


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Two test runs may come here at once. The lock is on the folder itself, which `venv --clear` leaves in place.
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ServerError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-300:]}")


if __name__ == "__main__":
    install_ministack()
