"""Follow a job to its end: read, draw, fill a folder, and tend the embedded farm where there is one."""

import time
from collections.abc import Callable

from dispatcher.farm import Farm
from dispatcher.service.broker import Broker
from dispatcher.views.gallery import Gallery
from dispatcher.views.progress import Progress, read_progress
from dispatcher.views.screen import Screen
from storage.blobs import BlobStore
from storage.sql import images

POLL_S = 0.25
GALLERY_LAST = 12


def follow(
    farm: Farm, job_id: str, *, broker: Broker | None, screen: Screen, gallery: Gallery | None, tend: Callable[[], None]
) -> Progress:
    """Show a job until it has ended or stopped itself; a paused one is waited for. Returns the last reading.

    Args:
        farm: Where the job is.
        job_id: The job.
        broker: To see the workers; None where there is no broker.
        screen: Where to draw.
        gallery: A folder to fill meanwhile.
        tend: Called about four times a second.

    Raises:
        FarmError: A part that this command itself needs is away.
    """
    newest = _Newest(farm, job_id)
    with screen:
        while True:
            tend()
            progress = read_progress(farm.database, broker, job_id)
            pictures = gallery.fill(job_id, again=progress.is_over) if gallery is not None else newest.read()
            screen.show(progress, pictures)
            if progress.is_over:
                return progress
            time.sleep(POLL_S)


class _Newest:
    """The newest pictures of a job, for a mosaic without a folder."""

    def __init__(self, farm: Farm, job_id: str) -> None:
        self._farm = farm
        self._job_id = job_id
        self._seen: set[int] = set()

    def read(self) -> list[bytes]:
        store: BlobStore = self._farm.store
        with self._farm.database.read() as connection:
            rows = images.newest(connection, self._job_id, limit=GALLERY_LAST)
        fresh = [row for row in reversed(rows) if row.number not in self._seen]
        self._seen = {row.number for row in rows}
        return [store.get(row.key) for row in fresh if row.key is not None]
