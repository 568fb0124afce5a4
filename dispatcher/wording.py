"""Counts and bytes as people read them. Pure."""


def human(count: float) -> str:
    """Bytes in powers of 1000: "512 B", "1.5 kB", "20.3 GB"."""
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count:.0f} B"


def counted(count: int, what: str) -> str:
    """A number of things: "1 shard", "2 shards"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
