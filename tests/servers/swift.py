"""OpenStack Swift with its S3 interface: a storage system that is run in earnest, with real signatures."""

import importlib.util
import os
import secrets
import sys
from pathlib import Path

from servers.program import Program, ServerError, free_port, listens
from servers.s3 import S3Server

RUNNER = Path(__file__).with_name("swift_runner.py")
ACCOUNT = "farm"


def start_swift(folder: Path) -> tuple[Program, S3Server]:
    """Start proxy, account, container and object server in one process. Raises `ServerError`."""
    for package in ("swift", "eventlet"):
        if importlib.util.find_spec(package) is None:
            raise ServerError("the package 'swift' is not installed")
    _require_attributes(folder)
    port, user, secret = free_port(), secrets.token_hex(8), secrets.token_hex(16)
    server = S3Server("swift", f"http://127.0.0.1:{port}", f"{ACCOUNT}:{user}", secret)
    # -P: this folder must not be on the path, or `import swift` would find this file.
    command = [sys.executable, "-P", "-W", "ignore", str(RUNNER), str(folder), str(port), ACCOUNT, user, secret]
    program = Program(command, log=folder / "swift.log")
    program.start(lambda: listens(port))
    return program, server


def _require_attributes(folder: Path) -> None:
    # Swift keeps what it knows of an object in extended attributes of its file.
    probe = folder / "attributes"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"1")
    except (OSError, AttributeError) as error:
        raise ServerError(f"no extended attributes in {folder} ({error}); point TMPDIR at another disk") from error
