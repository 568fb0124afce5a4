"""Rows and columns of parquet and arrow files, patterns and data set folders; what was read is frozen by hash."""

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spec_files import frozen
from storage.errors import UserError
from storage.spec import Job, Spec

CAPTIONS = ["a fox", "a hare", "an owl, seen 🦉 at night"]


def prompts(spec: Spec) -> list[Any]:
    return [place.values["prompt"] for place in Job(spec) if place]


def write(file: Path, **columns: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file, row_group_size=2)
    return file


def shards(folder: Path, split: str, *texts: list[str]) -> None:
    for place, captions in enumerate(texts):
        write(folder / "data" / f"{split}-{place:05}-of-{len(texts):05}.parquet", caption=captions)


def test_cells_of_parquet_come_as_what_they_are(tmp_path: Path) -> None:
    write(
        tmp_path / "t.parquet", caption=CAPTIONS, seed=pa.array([1.0, 2.0, 3.0]), scale=[1.5, None, 3.0],
        day=[date(2024, 1, 2)] * 3, at=[datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)] * 3, cost=[Decimal("1.50")] * 3,
        good=[True, None, False], kind=pa.array(["x", "y", None]).dictionary_encode(), n=[1, None, 3],
    )  # fmt: skip
    labels = ["day", "at", "cost", "good", "kind", "n"]
    bind = {"prompt": "caption", "seed": "seed", "guidance_scale": "scale"}

    places = list(Job(frozen(tmp_path, rows={"file": "t.parquet", "bind": bind, "labels": labels})))

    assert [place and (place.values["seed"], place.values["guidance_scale"]) for place in places] == [
        (1, 1.5), (2, None), (3, 3.0),
    ]  # fmt: skip
    assert [place and place.values["prompt"] for place in places] == CAPTIONS
    assert places[0] is not None
    assert places[0].labels == {
        "day": "2024-01-02", "at": "2024-01-02 03:04:05Z", "cost": "1.50", "good": "true", "kind": "x", "n": "1",
    }  # fmt: skip
    assert places[1] is not None
    assert (places[1].labels["good"], places[1].labels["n"]) == ("", "")


def test_a_column_can_be_bound_twice_and_in_any_order(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", a=["x", "y"], b=["p", "q"])
    bind = {"negative_prompt": "b", "prompt": "a", "prompt_2": "b"}

    place = Job(frozen(tmp_path, rows={"file": "t.parquet", "bind": bind, "labels": ["a"]}))[1]

    assert place is not None
    assert [place.values[key] for key in bind] == ["q", "y", "q"]
    assert place.labels == {"a": "y"}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.arrow"])
def test_an_axis_takes_a_column_of_any_table(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    match file.suffix:
        case ".csv":
            file.write_text('id,caption\n1,a fox\n2,"a hare"\n')
        case ".tsv":
            file.write_text("id\tcaption\n1\ta fox\n2\ta hare\n")
        case ".jsonl":
            file.write_text('{"caption": "a fox"}\n{"caption": "a hare"}\n')
        case ".parquet":
            write(file, caption=CAPTIONS[:2])
        case ".arrow":
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, pa.schema({"caption": "string"})) as writer:
                writer.write(pa.record_batch({"caption": CAPTIONS[:2]}))

    spec = frozen(tmp_path, axes={"prompt": {"file": name, "column": "caption"}, "seed": [1, 2]})

    assert prompts(spec) == ["a fox", "a fox", "a hare", "a hare"]
    assert spec.sources == (
        {"key": "axes.prompt", "name": name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "rows": 2},
    )


def test_every_source_is_frozen_by_the_hash_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"a fox\r\n\r\na hare\r\n")
    (tmp_path / "s.csv").write_text("seed,n\n1,x\n2,y\n3,z\n")
    axes = {"prompt": {"file": "./p.txt"}}
    rows = {"file": "s.csv", "bind": {"seed": "seed"}, "limit": 2}

    spec = frozen(tmp_path, axes=axes, rows=rows)

    assert [(entry["key"], entry["name"], entry["rows"]) for entry in spec.sources] == [
        ("axes.prompt", "./p.txt", 2), ("rows", "s.csv", 2),
    ]  # fmt: skip
    assert spec.sources[0]["sha256"] == hashlib.sha256(b"a fox\r\n\r\na hare\r\n").hexdigest()
    assert Spec.from_json(spec.to_json()).hash == spec.hash
    (tmp_path / "s.csv").write_text("seed,n\n1,x\n2,y\n3,w\n")
    assert frozen(tmp_path, axes=axes, rows=rows).hash != spec.hash


def test_a_job_without_files_has_no_sources(tmp_path: Path) -> None:
    assert "sources" not in frozen(tmp_path, axes={"prompt": ["a"]}).to_json()


def test_files_of_a_pattern_follow_each_other_as_people_count(tmp_path: Path) -> None:
    for place in (10, 2, 1):
        write(tmp_path / "d" / f"p{place}.parquet", caption=[f"text {place}"])
    (tmp_path / "d" / "p3.csv").write_text("caption\ntext 3\n")

    spec = frozen(tmp_path, rows={"files": "d/p*", "bind": {"prompt": "caption"}, "limit": 3})

    assert prompts(spec) == ["text 1", "text 2", "text 3"]
    assert [entry["name"] for entry in spec.sources] == ["d/p1.parquet", "d/p2.parquet", "d/p3.csv"]


def test_a_folder_of_shards_is_read_by_split(tmp_path: Path) -> None:
    shards(tmp_path / "set", "train", ["a", "b"], ["c"])
    shards(tmp_path / "set", "test", ["d"])
    source = {"dataset": "./set", "column": "caption"}

    train, test = (
        frozen(tmp_path, axes={"prompt": source}),
        frozen(tmp_path, axes={"prompt": source | {"split": "test"}}),
    )

    assert (prompts(train), prompts(test)) == (["a", "b", "c"], ["d"])
    assert [entry["name"] for entry in train.sources] == [
        f"./set/data/train-0000{place}-of-00002.parquet" for place in (0, 1)
    ]


def test_configs_of_the_readme_say_which_files_are_a_split(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(folder / "en" / "1.parquet", caption=["a fox"])
    write(folder / "de" / "a.parquet", caption=["ein Fuchs"])
    write(folder / "de" / "b.parquet", caption=["ein Hase"])
    (folder / "README.md").write_text(
        "---\nlicense: mit\nconfigs:\n- config_name: en\n  default: true\n  data_files: en/*.parquet\n"
        "- config_name: de\n  data_files:\n  - split: first\n    path: de/a.parquet\n"
        "  - split: rest\n    path: [de/b.parquet]\n---\n# Foxes\n"
    )

    def read(**more: str) -> list[Any]:
        return prompts(frozen(tmp_path, rows={"dataset": "set", "bind": {"prompt": "caption"}, **more}))

    assert read() == ["a fox"]
    assert read(config="de", split="rest") == ["ein Hase"]
    with pytest.raises(UserError, match=r"rows.split: must be given; must be one of first, rest"):
        read(config="de")
    with pytest.raises(UserError, match=r"rows.config = 'fr': no such name"):
        read(config="fr")


@pytest.mark.parametrize(
    ("files", "split", "expected"),
    [
        pytest.param({"train.csv": "a", "test.csv": "b"}, None, ["a"], id="names of files"),
        pytest.param({"train/x.csv": "a", "validation/x.csv": "b"}, "validation", ["b"], id="names of folders"),
        pytest.param({"x.csv": "a", "y.csv": "b", "notes.jsonl": "c"}, None, ["a", "b"], id="no names"),
        pytest.param({"my-dev-part.csv": "a", "z_train.csv": "b"}, "validation", ["a"], id="words in names"),
    ],
)
def test_splits_are_told_by_names_without_a_readme(
    tmp_path: Path, files: dict[str, str], split: str | None, expected: list[str]
) -> None:
    for name, caption in files.items():
        file = tmp_path / "set" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{{"caption": "{caption}"}}\n' if file.suffix == ".jsonl" else f"caption\n{caption}\n")
    given = {} if split is None else {"split": split}

    spec = frozen(tmp_path, axes={"prompt": {"dataset": "set", "column": "caption", **given}})

    assert prompts(spec) == expected


def test_folders_of_the_real_library_read_as_it_reads_them(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"caption": [f"text {place}" for place in range(20)], "n": list(range(20))})
    datasets.DatasetDict({"train": made, "test": made.select([3, 1])}).save_to_disk(
        str(tmp_path / "saved"), num_shards={"train": 3, "test": 1}
    )
    made.shuffle(seed=1).save_to_disk(str(tmp_path / "one"))
    (tmp_path / "hub" / "data").mkdir(parents=True)
    made.to_parquet(str(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet"))

    def read(folder: str, **more: str) -> list[Any]:
        return prompts(frozen(tmp_path, axes={"prompt": {"dataset": folder, "column": "caption", **more}}))

    assert read("saved") == list(made["caption"])
    assert read("saved", split="test") == ["text 3", "text 1"]
    assert read("one") == list(datasets.load_from_disk(str(tmp_path / "one"))["caption"])
    assert read("hub") == list(made["caption"])


FAULTS = [
    pytest.param({"bind": {"prompt": "caption"}}, "rows: must name one of file, files", id="nothing named"),
    pytest.param({"file": "t.parquet", "dataset": "x"}, "rows: must name only one of file, files", id="two named"),
    pytest.param({"file": "t.parquet", "split": "x"}, "rows.split = 'x': goes with dataset only", id="split of a file"),
    pytest.param({"files": "nope*"}, "rows.files = 'nope*': matches no file", id="no file"),
    pytest.param({"files": "**x"}, "rows.files = '**x': is no pattern", id="no pattern"),
    pytest.param({"files": ""}, "rows.files = '': ", id="empty pattern"),
    pytest.param({"dataset": "nope"}, "nope: no such folder; nothing is fetched", id="no folder"),
    pytest.param({"dataset": "t.parquet"}, "t.parquet: not a directory", id="a file as a folder"),
    pytest.param({"dataset": "a\0b"}, "is no name of a folder", id="no name"),
    pytest.param({"dataset": "m"}, "m: holds no data files", id="an empty folder"),
    pytest.param({"file": "gone.parquet"}, "gone.parquet: no such file or directory", id="no table"),
    pytest.param({"file": "d.parquet"}, "d.parquet: is a directory", id="a folder as a file"),
    pytest.param({"file": "t.parquet", "bind": {"prompt": "captoin"}},
                 "rows.bind.prompt = 'captoin': no such column in t.parquet; did you mean 'caption'?", id="column"),
    pytest.param({"file": "t.parquet", "limit": 0}, "rows.limit = 0: must be at least 1", id="no rows wanted"),
    pytest.param({"file": "none.parquet"}, "rows.file = 'none.parquet': holds no rows", id="no rows"),
    pytest.param({"file": "t.parquet", "bind": {"seed": "caption"}}, "t.parquet row 1, caption = 'a'", id="no number"),
    pytest.param({"file": "t.parquet", "bind": {"prompt": "n"}}, "t.parquet row 1, n = 1: must be text", id="no text"),
    pytest.param({"file": "t.parquet", "bind": {"prompt": "bytes"}}, "holds bytes in column 'bytes'", id="bytes"),
    pytest.param({"file": "t.parquet", "bind": {"prompt": "tags"}}, "holds list<", id="lists"),
    pytest.param({"file": "t.parquet", "bind": {"prompt": "image"}}, "holds pictures in column 'image'; save them",
                 id="pictures"),
    pytest.param({"file": "t.parquet", "bind": {"prompt": "box"}}, "holds struct<", id="structures"),
    pytest.param({"file": "t.parquet", "bind": {"prompt": "none"}},
                 "t.parquet row 1, none: is empty, and prompt cannot be", id="null where something must be"),
    pytest.param({"file": "e.csv", "bind": {"prompt": "caption", "steps": "n"}},
                 "e.csv row 1, n: is empty, and steps cannot be", id="empty cell of a number"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), FAULTS)
def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path, rows: dict[str, Any], message: str) -> None:
    write(tmp_path / "t.parquet", caption=["a"], n=[1], bytes=[b"a"], tags=[["a"]], image=[{"bytes": b"a", "path": ""}],
          box=[{"x": 1}], none=pa.array([None], "string"))  # fmt: skip
    (tmp_path / "e.csv").write_text("caption,n\na,\n")
    write(tmp_path / "none.parquet", caption=pa.array([], "string"))
    (tmp_path / "d.parquet").mkdir()

    with pytest.raises(UserError) as caught:
        frozen(tmp_path, rows={"bind": {"prompt": "caption"}, **rows})

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param({"file": "t.csv"}, "axes.prompt = {'file': 't.csv'}: is a table; say which column", id="silent"),
        pytest.param(
            {"file": "t.csv", "column": "x"}, "axes.prompt.column = 'x': no such column in t.csv", id="column"
        ),
        pytest.param({"file": "t.txt", "column": "x"}, "axes.prompt.file = 't.txt': must end in .csv", id="no table"),
        pytest.param({"files": "*.csv"}, "axes.prompt.column: missing", id="column of files"),
    ],
)
def test_a_column_that_is_not_there_is_refused(tmp_path: Path, source: dict[str, str], message: str) -> None:
    (tmp_path / "t.csv").write_text("caption\na\n")
    (tmp_path / "t.txt").write_text("a\n")

    with pytest.raises(UserError) as caught:
        frozen(tmp_path, axes={"prompt": source})

    assert message in str(caught.value)


def test_a_data_set_cannot_name_files_outside_of_it(tmp_path: Path) -> None:
    write(tmp_path / "secret.parquet", caption=["a"])
    (tmp_path / "set").mkdir()
    for text in ("---\nconfigs:\n- data_files: ../secret.parquet\n---\n", "---\nconfigs:\n- data_files: /etc/*\n---\n"):
        (tmp_path / "set" / "README.md").write_text(text)
        with pytest.raises(UserError, match="which lies outside of it"):
            frozen(tmp_path, axes={"prompt": {"dataset": "set", "column": "caption"}})
