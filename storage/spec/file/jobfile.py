"""The job file as a user writes it, checked key by key.

These classes are the published JSON Schema. What they cannot express (values that depend on the axis, files) is
checked when the job is frozen.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

from storage.spec.fields import FIELDS, Mode, RecipeField
from storage.spec.file.quality import Quality
from storage.spec.kinds import Attention, Dtype, ModelName, Offload, Text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Limit = Annotated[int | None, Field(ge=1, description="how many of the first rows")]


class FileSource(_Strict):
    """Values from a text file, one a line, empty lines skipped; or from a column of a table."""

    file: str
    column: str | None = None
    limit: Limit = None


class FilesSource(_Strict):
    """A column of all the tables that a pattern matches, in the order of their names."""

    files: str = Field(description="a pattern such as data/*.parquet")
    column: str
    limit: Limit = None


class DatasetSource(_Strict):
    """A column of one split of a data set folder, as the Hugging Face hub has them or `save_to_disk` writes them."""

    dataset: str = Field(description="a folder")
    split: str | None = Field(default=None, description="silent: train, or the only one")
    config: str | None = Field(default=None, description="of the configs in README.md; silent: the default one")
    column: str
    limit: Limit = None


class TemplateSource(_Strict):
    """A text with {names}, {inline|alternatives} and __wildcards__, each replaced by all of its values in turn."""

    template: str
    values: dict[str, list[Any] | FileSource | FilesSource | DatasetSource] = {}
    wildcards: str | None = Field(default=None, description="a folder: __color__ is each line of its color.txt")


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
    for key, tag in (("template", "template"), ("derive", "derive"), ("file", "file"), ("files", "files"),
                     ("dataset", "dataset"), ("count", "range"), ("folder", "folder"), ("glob", "glob")):  # fmt: skip
        if key in keys:
            return tag
    return "range" if "start" in keys else "list"


Axis = Annotated[
    Annotated[list[Any], Tag("list"), Field(min_length=1)]
    | Annotated[FileSource, Tag("file")]
    | Annotated[FilesSource, Tag("files")]
    | Annotated[DatasetSource, Tag("dataset")]
    | Annotated[TemplateSource, Tag("template")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[GlobSource, Tag("glob")]
    | Annotated[RangeSource, Tag("range")]
    | Annotated[DeriveSource, Tag("derive")],
    Discriminator(_form),
]
AXIS_TAGS = frozenset({"list", "file", "files", "dataset", "folder", "glob", "template", "range", "derive"})


class Rows(_Strict):
    """A table whose rows bind several keys at once; label columns are kept with each image."""

    file: str | None = Field(default=None, description="a .csv, .tsv, .jsonl, .parquet or .arrow file")
    files: str | None = Field(default=None, description="a pattern such as data/*.parquet, instead of a file")
    dataset: str | None = Field(default=None, description="a data set folder, instead of a file")
    split: str | None = Field(default=None, description="of the data set; silent: train, or the only one")
    config: str | None = Field(default=None, description="of the data set; silent: the default one")
    bind: dict[str, str] = Field(min_length=1, description="recipe key -> column")
    labels: list[str] = []
    limit: Limit = None


class Sample(_Strict):
    """A random sample of the places that a job states, spread over all of its axes."""

    count: int = Field(ge=1, le=10**12, description="how many images")
    seed: int = Field(default=0, ge=0, lt=2**63, description="another seed draws another sample")


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
    """How an image is encoded, and what its file tells of itself."""

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: int | None = Field(default=None, ge=1, le=100, description="of jpeg (95) and webp (90)")
    lossless: bool = Field(default=False, description="webp that keeps every pixel")
    metadata: Literal["full", "minimal", "none"] = Field(
        default="full", description="what a file tells of how it was made; minimal: that a model made it, and a hash"
    )
    prompts: bool = Field(default=True, description="whether files disclose their prompts")
    watermark: str | None = Field(
        default=None, min_length=1, max_length=100, description="entry point that changes a picture before encoding"
    )


class JobBase(_Strict):
    """What a job file holds beside the keys of a recipe."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    mode: Mode = "text-to-image"
    axes: dict[str, Axis] = {}
    zip: list[dict[str, Axis]] = []
    rows: Rows | None = None
    exclude: list[dict[str, Any]] = []
    sample: Sample | None = Field(default=None, description="render a random sample of the places instead of all")
    plan: PlanPins = PlanPins()
    previews: Previews | None = None
    output: Output = Output()
    quality: Quality | None = None
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
