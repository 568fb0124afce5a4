"""Names of everything outside SQL: objects in the store, keys and queues in Redis. Built from ids and hashes only."""

import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u

REDIS_PREFIX = "seedfarm:"
EPOCH_KEY = REDIS_PREFIX + "epoch"
WORKER_KEYS = REDIS_PREFIX + "worker:"
RECORD_QUEUE = "record"


def new_id(length: int = 10) -> str:
    """A random name of `length` characters, 5 bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def spec_key(job: str, spec_hash: str) -> str:
    """A frozen spec of a job; one that was extended has several."""
    return f"jobs/{job}/spec-{spec_hash[:16]}.json"


def first_spec_key(job: str) -> str:
    """Where the spec of a job lies that was submitted before jobs could be extended."""
    return f"jobs/{job}/spec.json"


def input_key(sha256: str) -> str:
    """An input image, by the SHA-256 of its file: "sha256:..." as recipes name it, or the hex digits alone."""
    return f"inputs/{sha256.removeprefix('sha256:')}"


def chunk_prefix(job: str, chunk: int, attempt: int) -> str:
    """What every run of one attempt starts its keys with."""
    return f"jobs/{job}/{chunk}.{attempt}-"


def run_prefix(job: str, chunk: int, attempt: int, run: str) -> str:
    """The folder that one run writes under, and nothing else does."""
    return f"{chunk_prefix(job, chunk, attempt)}{run}/"


def manifest_key(prefix: str) -> str:
    """The manifest of a run, by the run's prefix."""
    return f"{prefix}manifest.json"


def image_key(prefix: str, number: int, suffix: str) -> str:
    """One image of a run."""
    return f"{prefix}{number:09d}.{suffix}"


def preview_key(prefix: str, number: int) -> str:
    """The strip of step previews of one image."""
    return f"{prefix}{number:09d}.steps.jpg"


def token_key(job: str, chunk: int, attempt: int) -> str:
    """The single-use permit of one attempt."""
    return f"{REDIS_PREFIX}token:{job}.{chunk}.{attempt}"


def worker_key(node: str) -> str:
    """The heartbeat that a worker's child overwrites."""
    return WORKER_KEYS + node


def orders_key(node: str) -> str:
    """What the dispatcher wants of a worker, overwritten every two seconds."""
    return f"{REDIS_PREFIX}orders:{node}"


def quarantine_key(node: str) -> str:
    """Why a worker's device is out of use until somebody starts farm-worker anew."""
    return f"{REDIS_PREFIX}quarantine:{node}"


def worker_queue(node: str, boot: str) -> str:
    """The Celery queue of one boot of one worker."""
    return f"render.{node}.{boot}"
