"""What a worker keeps on its disk while the object store is away, and sends when it is back."""

from worker.runs.storing.spool.delivery import Delivery
from worker.runs.storing.spool.disk import Disk
from worker.runs.storing.spool.sending import Spool

__all__ = ["Delivery", "Disk", "Spool"]
