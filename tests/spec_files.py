"""Job files for tests of the spec: written to a folder that holds a model, read and frozen."""

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from storage.spec import ModelFacts, Spec, check_job_file, freeze, read_job_file

CAP = 10**9
FACTS = ModelFacts(digest="sha256:" + "a" * 64, family="FakePipeline", width=64, height=64)
PLAIN = "model: ./m\nprompt: a fox\n"


def frozen_file(folder: Path, text: str | bytes, *, changes: tuple[str, ...] = ()) -> Spec:
    """Write a job file beside a model called `m`, then read and freeze it."""
    (folder / "m").mkdir(exist_ok=True)
    file = folder / "job.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return freeze(read_job_file(file, changes=changes), base=folder, name="job", max_images=CAP)


def frozen(folder: Path, **entries: Any) -> Spec:
    """Freeze plain data; silent on model and prompt means `./m` and a fox."""
    (folder / "m").mkdir(exist_ok=True)
    bound = [*entries.get("axes", {}), *(key for axes in entries.get("zip", []) for key in axes)]
    bound += entries.get("rows", {}).get("bind", {})
    plain = {"model": "./m"} if entries.get("mode") == "unconditional" else {"model": "./m", "prompt": "a fox"}
    silent = {key: value for key, value in plain.items() if key not in bound}
    return freeze(check_job_file({**silent, **entries}), base=folder, name="job", max_images=CAP)


def _axis(key: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, min_size=1, max_size=4, unique_by=repr).map(lambda chosen: (key, chosen))


_WORDS = st.text("abc é", max_size=3)
_AXES = (
    _axis("model", st.sampled_from(["./m", "owner/one", "owner/two"])),
    _axis("prompt", _WORDS),
    _axis("negative_prompt", st.none() | _WORDS),
    _axis("seed", st.integers(0, 50)),
    st.builds(lambda start, count: ("seed", {"start": start, "count": count}), st.integers(0, 5), st.integers(1, 5)),
    st.builds(lambda count: ("seed", {"derive": count}), st.integers(1, 4)),
    _axis("steps", st.integers(1, 4)),
    _axis("width", st.sampled_from([8, 64, 512])),
    _axis("scheduler", st.sampled_from(["ddim", "euler", "dpmpp_2m"])),
    _axis("guidance_scale", st.sampled_from([0, 1.5, 7])),
    _axis("loras", st.sampled_from([[], "./m", {"model": "./m", "scale": 0.5}])),
    _axis("cfg_cutoff", st.sampled_from([None, 0.5, {"step": 0}])),
    _axis("clip_skip", st.integers(0, 2)),
)


@st.composite
def job_files(draw: st.DrawFn, *, exclude: bool = True) -> dict[str, Any]:
    """A job file of up to five axes, some of them zipped, some places excluded."""
    chosen = draw(st.lists(st.one_of(*_AXES), max_size=5, unique_by=lambda axis: axis[0]))
    axes = dict(chosen)
    entries: dict[str, Any] = {"axes": axes}
    lists = {key: values for key, values in axes.items() if isinstance(values, list)}
    lengths = [len(values) for values in lists.values()]
    together = [key for key, values in lists.items() if lengths.count(len(values)) > 1 and len(values) == max(lengths)]
    if len(together) > 1 and draw(st.booleans()):
        entries["zip"] = [{key: axes.pop(key) for key in together}]
    if exclude and lists:
        clause = st.dictionaries(st.sampled_from(sorted(lists)), st.integers(0, 3), min_size=1, max_size=2)
        picks = draw(st.lists(clause, max_size=2))
        entries["exclude"] = [
            {key: lists[key][pick % len(lists[key])] for key, pick in clause.items()} for clause in picks
        ]
    return {
        key: value for key, value in {"model": "./m", "prompt": "a fox", **entries}.items() if not _bound(key, entries)
    }


def _bound(key: str, entries: dict[str, Any]) -> bool:
    return key in entries["axes"] or any(key in axes for axes in entries.get("zip", []))
