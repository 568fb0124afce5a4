"""The flat row of an image: one versioned list of typed columns, for parquet, tar side files and data frames.

Nothing here tells which worker made an image, in which attempt or when: the same image has the same row wherever and
whenever it was rendered. What is open-ended (options, models, plan) is JSON in one text, since a table wants the same
columns in every row. Columns are added at the end; one that changes its meaning makes a new ROW_SCHEMA.
"""

from dataclasses import dataclass
from typing import Final, Literal

ROW_SCHEMA: Final = 1
LABEL_PREFIX: Final = "label_"
Kind = Literal["string", "int64", "float64", "bool"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. A value may be null unless the note says otherwise."""

    name: str
    type: Kind
    note: str  # one line for people; no full stop


COLUMNS: Final = (
    Column("image_id", "string", "job/number, such as k3v9/12, or k3v9/12.1 for its first take; never null"),
    Column("job", "string", "id of the job"),
    Column("job_name", "string", "name of the job"),
    Column("number", "int64", "place of the image in its job, from 0"),
    Column("take", "int64", "0: the image that the job states; n: its n-th successor, with another seed"),
    Column("parent", "string", "image_id of take 0, of a later take"),
    Column("recipe_hash", "string", "SHA-256 of `recipe`"),
    Column("state", "string", "done or failed"),
    Column("rejected", "string", "why the job's quality rules do not accept it"),
    Column("reason", "string", "why a failed image failed, or why an image is not in the data set"),
    Column("detail", "string", "more on `reason`"),
    Column("prompt", "string", "what the picture shows"),
    Column("negative_prompt", "string", "what it should not show"),
    Column("prompt_template", "string", "the text with {names} that the prompt was made of"),
    Column("labels", "string", "all labels as JSON: name to text"),
    Column("truncated", "bool", "of the prompt, the model read a part"),
    Column("seed", "int64", "of the noise, in [0, 2**63)"),
    Column("generator", "string", "what drew the noise"),
    Column("noise_dtype", "string", "number format that the noise was drawn in"),
    Column("mode", "string", "text-to-image, image-to-image, inpaint, ..."),
    Column("model", "string", "checkpoint, by its name in the job file"),
    Column("model_digest", "string", "sha256 over every file of it that decides pixels"),
    Column("family", "string", "diffusers pipeline class of the checkpoint"),
    Column("models", "string", "digests of all models as JSON: key in the job to digest"),
    Column("scheduler", "string", "sampler by its short name with options; own: that of the model"),
    Column("scheduler_class", "string", "diffusers class of the sampler"),
    Column("scheduler_options", "string", "options of the sampler as JSON"),
    Column("steps", "int64", "denoising steps"),
    Column("guidance_scale", "float64", "classifier-free guidance; null where the model takes none"),
    Column("strength", "float64", "how much of the first image was repainted"),
    Column("width", "int64", "pixels as rendered"),
    Column("height", "int64", "pixels as rendered"),
    Column("init_image", "string", "picture that it started from: sha256 of the file"),
    Column("mask", "string", "what was repainted: sha256 of the file"),
    Column("options", "string", "other recipe keys in short words as JSON"),
    Column("recipe", "string", "all that decides the picture, as canonical JSON"),
    Column("plan", "string", "what decides the low bits, as JSON"),
    Column("plan_hash", "string", "SHA-256 of `plan`"),
    Column("dtype", "string", "number format of the computation"),
    Column("batch", "int64", "images of one pipeline call"),
    Column("device_type", "string", "cpu or cuda"),
    Column("environment", "string", "library versions and kind of device as JSON"),
    Column("torch", "string", "version"),
    Column("diffusers", "string", "version"),
    Column("transformers", "string", "version"),
    Column("format", "string", "png, jpeg or webp, as rendered"),
    Column("bytes", "int64", "size of the file as rendered"),
    Column("sha256", "string", "of the file as rendered"),
    Column("pixel_sha256", "string", "of the decoded pixels as rendered"),
    Column("phash", "string", "perceptual hash, 16 hex digits"),
    Column("nsfw", "bool", "the safety checker blackened it"),
    Column("low_variance", "bool", "of nearly one colour"),
    Column("scores", "string", "what scorers gave, as JSON: name to number"),
    Column("clip", "float64", "CLIP score"),
    Column("aesthetic", "float64", "aesthetic score"),
    Column("safety", "float64", "score of the safety scorer"),
    Column("linked_from", "string", "image_id that it was rendered as, if for another job"),
    Column("file_name", "string", "name in the data set; null: not in it"),
    Column("split", "string", "split in the data set; null: not in it"),
    Column("sha256_exported", "string", "of the file in the data set"),
)  # fmt: skip
NAMES: Final = frozenset(column.name for column in COLUMNS)


def with_labels(labels: tuple[str, ...]) -> tuple[Column, ...]:
    """All columns, and one `label_<name>` for each of these labels."""
    return (*COLUMNS, *(Column(LABEL_PREFIX + name, "string", f"label {name}") for name in labels))
