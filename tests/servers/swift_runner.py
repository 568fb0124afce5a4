"""The program behind `servers.swift`: a whole Swift in one process.

Usage: swift_runner.py FOLDER PORT ACCOUNT USER SECRET
"""

import sys
from pathlib import Path

import eventlet

eventlet.monkey_patch()  # before anything of Swift is imported

import eventlet.wsgi  # noqa: E402
from swift.common import storage_policy, utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

BACKENDS = ("account", "container", "object")

FILTERS = (
    *("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "s3api", "tempauth"),
    *("copy", "slo", "dlo", "versioned_writes", "symlink"),
)

PROXY = """\
[DEFAULT]
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = {filters} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""

SETTINGS = {
    "s3api": "location = us-east-1",
    "tempauth": "user_{account}_{user} = {secret} .admin",
}

BACKEND = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
workers = 0
log_level = ERROR
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""


def save_ring(folder: Path, name: str, port: int) -> None:
    """Write a ring of one copy on one device."""
    device = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1, "meta": ""}
    device |= {"replication_ip": "127.0.0.1", "replication_port": port}
    builder = RingBuilder(4, 1, 1)  # 2**4 partitions, one replica, no wait between moves
    builder.add_dev(device)
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def serve(listener: eventlet.greenio.GreenSocket, config: Path) -> eventlet.greenthread.GreenThread:
    """Serve the application of a paste file."""
    return eventlet.spawn(eventlet.wsgi.server, listener, loadapp(str(config)), log_output=False)


def main(folder: Path, port: int, account: str, user: str, secret: str) -> None:
    """Write rings and settings, then serve until killed."""
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = one\n")
    listeners = {name: eventlet.listen(("127.0.0.1", 0)) for name in BACKENDS}
    for name, listener in listeners.items():
        save_ring(folder, name, listener.getsockname()[1])
        (folder / f"{name}.conf").write_text(BACKEND.format(folder=folder, name=name))
    sections = [f"[filter:{name}]\nuse = egg:swift#{name}\n{SETTINGS.get(name, '')}\n" for name in FILTERS]
    proxy = (PROXY + "".join(sections)).format(
        folder=folder, filters=" ".join(FILTERS), account=account, user=user, secret=secret
    )
    (folder / "proxy.conf").write_text(proxy)
    utils.set_swift_dir(str(folder))
    storage_policy.reload_storage_policies()
    for name, listener in listeners.items():
        serve(listener, folder / f"{name}.conf")
    serve(eventlet.listen(("127.0.0.1", port)), folder / "proxy.conf").wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6])
