"""Specs in the object store: each under its hash, earlier ones beside later ones."""

from pathlib import Path

import pytest

from spec_files import CAP, frozen
from storage.blobs import FolderStore
from storage.errors import BlobMissing
from storage.spec import canonical, digest
from storage.spec.growth import add_values
from storage.spec_store import SpecMismatch, SpecStore, SpecUnreadable
from storage.wire.keys import first_spec_key, spec_key


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    store.check()
    return store


def test_every_spec_that_a_job_ever_had_can_be_read(tmp_path: Path, store: FolderStore) -> None:
    spec = frozen(tmp_path, axes={"seed": {"count": 2}})
    longer = add_values(spec, seeds=3, max_images=CAP)
    for one in (spec, longer):
        SpecStore(store).save("job", one)

    loaded = [SpecStore(store).load("job", spec_hash=one.hash) for one in (spec, longer)]

    assert [len(job) for job in loaded] == [2, 5]
    assert [job.spec.hash for job in loaded] == [spec.hash, longer.hash]


def test_a_job_from_before_extensions_is_read_where_it_lies(tmp_path: Path, store: FolderStore) -> None:
    spec = frozen(tmp_path)
    store.put(first_spec_key("job"), canonical(spec.to_json()))

    assert SpecStore(store).load("job", spec_hash=spec.hash).spec.hash == spec.hash


def test_an_old_key_does_not_stand_for_another_spec(tmp_path: Path, store: FolderStore) -> None:
    spec = frozen(tmp_path, axes={"seed": {"count": 2}})
    store.put(first_spec_key("job"), canonical(spec.to_json()))

    with pytest.raises(SpecMismatch):
        SpecStore(store).load("job", spec_hash=add_values(spec, seeds=1, max_images=CAP).hash)


@pytest.mark.parametrize(
    ("schema", "step"), [(1, "submit its job file again"), (99, "a newer farm wrote it: upgrade this one")]
)
def test_a_spec_of_another_version_is_refused_with_the_next_step(
    tmp_path: Path, store: FolderStore, schema: int, step: str
) -> None:
    entry = frozen(tmp_path).to_json() | {"schema": schema}
    store.put(spec_key("job", digest(entry)), canonical(entry))

    with pytest.raises(SpecUnreadable, match=f"has schema {schema}, this farm reads 2; {step}"):
        SpecStore(store).load("job", spec_hash=digest(entry))


def test_a_missing_spec_is_named_by_the_key_it_should_have(tmp_path: Path, store: FolderStore) -> None:
    spec = frozen(tmp_path)

    with pytest.raises(BlobMissing) as caught:
        SpecStore(store).load("job", spec_hash=spec.hash)

    assert spec_key("job", spec.hash) in str(caught.value)
