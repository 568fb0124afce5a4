"""The job file as a user writes it, checked key by key.

These classes are the published JSON Schema. What they cannot express (values that depend on the axis, files) is
checked when the job is frozen.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

from storage.spec.fields import FIELDS, Mode, RecipeField
from storage.spec.kinds import Attention, Dtype, ModelName, Offload, Text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FileSource(_Strict):
    """Values from a text file: one a line, empty lines skipped."""

    file: str


class TemplateSource(_Strict):
    """A text with {names}, each replaced by every one of its values in turn."""

    template: str
    values: dict[str, list[Any] | FileSource] = Field(min_length=1)


class FolderSource(_Strict):
    """Every picture of a folder, in the order of their names."""

    folder: str


class GlobSource(_Strict):
    """Every file that a pattern matches, in the order of their paths; ** goes through folders."""

    glob: str


class RangeSource(_Strict):
    """Whole numbers: `count` of them from `start` on."""

    start: int = 0
    count: int = Field(ge=1, le=10**15)
    step: int = Field(default=1, ge=1)


class DeriveSource(_Strict):
    """Seeds computed from the job's seed and the values of other keys; adding values changes no seed."""

    derive: int = Field(ge=1, le=10**15, description="how many seeds for each combination of the `over` keys")
    over: list[str] | None = None


def _form(value: object) -> str:
    if isinstance(value, list):
        return "list"
    keys: dict[str, Any] = value if isinstance(value, dict) else {}
    for key, tag in (("template", "template"), ("derive", "derive"), ("file", "file"), ("count", "range"),
                     ("folder", "folder"), ("glob", "glob")):  # fmt: skip
        if key in keys:
            return tag
    return "range" if "start" in keys else "list"


Axis = Annotated[
    Annotated[list[Any], Tag("list"), Field(min_length=1)]
    | Annotated[FileSource, Tag("file")]
    | Annotated[TemplateSource, Tag("template")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[GlobSource, Tag("glob")]
    | Annotated[RangeSource, Tag("range")]
    | Annotated[DeriveSource, Tag("derive")],
    Discriminator(_form),
]
AXIS_TAGS = frozenset({"list", "file", "folder", "glob", "template", "range", "derive"})


class Rows(_Strict):
    """A table whose rows bind several keys at once; label columns are kept with each image."""

    file: str = Field(description="a .csv, .tsv or .jsonl file")
    bind: dict[str, str] = Field(min_length=1, description="recipe key -> column")
    labels: list[str] = []


class PlanPins(_Strict):
    """What decides the low bits, where the job wants to say so itself; the farm chooses the rest."""

    dtype: Dtype | None = None
    batch: int | None = Field(default=None, ge=1, le=512, description="images of one pipeline call")
    threads: int | None = Field(default=None, ge=1, le=512, description="CPU threads of one worker")
    tf32: bool | None = None
    attention: Attention | None = Field(default=None, description="kernel of the attention; sdpa: torch chooses")
    compile: bool | None = Field(default=None, description="torch.compile the repeated blocks")
    vae_slicing: bool | None = Field(default=None, description="decode one picture at a time")
    vae_tiling: bool | None = Field(default=None, description="decode in tiles; changes pixels slightly")
    offload: Offload | None = Field(default=None, description="keep weights in main memory between uses")


class Previews(_Strict):
    """Small pictures of the steps."""

    every: int = Field(ge=1, description="steps between two previews")
    keep: bool = Field(default=False, description="keep them after the image was recorded")
    taesd: ModelName | None = Field(default=None, description="a tiny VAE that decodes them; silent: a linear map")


class Output(_Strict):
    """How an image is encoded."""

    format: Literal["png"] = "png"


class JobBase(_Strict):
    """What a job file holds beside the keys of a recipe."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    mode: Mode = "text-to-image"
    axes: dict[str, Axis] = {}
    zip: list[dict[str, Axis]] = []
    rows: Rows | None = None
    exclude: list[dict[str, Any]] = []
    plan: PlanPins = PlanPins()
    previews: Previews | None = None
    output: Output = Output()
    reuse: Literal["same-plan", "any-plan", "off"] = Field(
        default="same-plan", description="link an image that exists already, in any job, instead of rendering it again"
    )
    smaller_plans: bool = Field(
        default=False, description="a device that cannot hold the plan may render by a smaller one; recorded"
    )
    allow_blank: bool = Field(default=False, description="a picture of one single colour is no failure")


def _as_written(entry: RecipeField) -> Any:
    """What the key takes in a file: an input image is named by its path there, by its hash later."""
    return Text if entry.refers == "image" else entry.kind


_KEYS: dict[str, Any] = {
    name: (_as_written(entry) | None, Field(None, description=entry.note)) for name, entry in FIELDS.items()
}
JobFile: type[JobBase] = create_model(
    "JobFile", __base__=JobBase, __doc__="One job: the product of its axes, plus what all images share.", **_KEYS
)
