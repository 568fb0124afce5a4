"""Commands about job files: nothing here needs a farm."""

from pathlib import Path

import click

from dispatcher.cli.common import (
    again,
    echo_json,
    echo_notes,
    file_argument,
    json_option,
    load_spec,
    open_farm,
    set_option,
)

TEMPLATE = """\
# A Seedfarm job. Check it: farm check FILE. Render it: farm run FILE.
name: my-job

# A name of 'farm model ls', a folder or .safetensors file beside this one, or owner/name@revision of the hub
model: stable-diffusion-v1-5/stable-diffusion-v1-5

# The job is the product of its axes. Whatever stands under "same for every image" below can be an axis instead.
axes:
  prompt:
    - a lighthouse at dawn, oil on canvas
    - a lighthouse at night, woodcut
  # prompt: {file: prompts.txt}                  one prompt a line
  # prompt: {template: "a {mood} {fox|hare}", values: {mood: [happy, sleepy]}}
  # prompt: {dataset: ./captions, column: caption}   a column of a data set folder; {file: x.parquet, column: ...}
  seed: {start: 0, count: 4}
  # seed: {derive: 4, over: [prompt]}            the same four seeds for a prompt, whatever else is added
  scheduler: [ddim, {name: dpmpp_2m, use_karras_sigmas: true}]   # 'farm schedulers' lists them
  # guidance_scale: [3, 5, 7.5]

# zip: [{width: [512, 768], height: [768, 512]}]          axes that go together
# exclude: [{scheduler: ddim, seed: 0}]                   places left empty
# rows: {file: captions.csv, bind: {prompt: caption}, labels: [source]}
# sample: {count: 500, seed: 0}                           a random sample of all that, however large

# Same for every image
negative_prompt: blurry
steps: 25
guidance_scale: 7.5                     # silent: what the model's pipeline takes by itself
width: 512
height: 512

# Beside the model
# loras: [{model: ./ink.safetensors, scale: 0.8}]
# vae: ./vae
# embeddings: [{model: ./toy.safetensors, token: <toy>}]
# controlnet: owner/edges               with control_image: edges.png, controlnet_conditioning_scale: 0.7
# ip_adapter: owner/name                with ip_adapter_image: style.png
# refiner: owner/name                   with refiner_start: 0.8

# From pictures: mode is image-to-image, inpaint (mask: mask.png) or depth-to-image; any of these can be an axis too
# mode: image-to-image
# init_image: photo.png                 an axis: init_image: {folder: photos} or {glob: "photos/**/*.png"}
# strength: 0.6

# docs/job-file.md has all keys: weighting, cfg_cutoff, dynamic_guidance, sigmas, clip_skip, and more
# previews: {every: 5}                  a strip of the steps, dropped when the image is stored unless keep: true
# plan: {dtype: float16, batch: 4}      the farm chooses what is not pinned
output: {format: png}                   # jpeg or webp with quality: 1..100; what files tell: metadata, prompts
"""


@click.command(short_help="Print a commented job file.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def init(file: Path | None) -> None:
    """Print a commented job file, or write it to FILE."""
    if file is None:
        click.echo(TEMPLATE, nl=False)
        return
    from storage.errors import UnreadableFile

    try:
        with file.open("x") as handle:
            handle.write(TEMPLATE)
    except FileExistsError:
        raise UnreadableFile(file, "exists already; choose another name") from None
    except OSError as error:
        raise UnreadableFile(file, f"cannot be written: {(error.strerror or str(error)).lower()}") from None
    click.echo(f"{file}: edit it, then: farm check {file}")


@click.command()
@file_argument
@set_option
@click.option("--sample", type=click.IntRange(1), help="Render that many images, spread over the whole job.")
@click.option("--devices", default="all", show_default=True, help="For --sample: all, cpu, or 0,1.")
@json_option
def check(file: Path, changes: tuple[str, ...], sample: int | None, devices: str, as_json: bool) -> int:
    """Say what a job file would render. Nothing is queued.

    Prints the number of images, the size of each axis, the first and the last recipe, and the bytes to expect.
    """
    from dispatcher.views.estimate import estimate, print_estimate

    farm = open_farm()
    spec = load_spec(farm, file, changes=changes)
    echo_notes(spec)
    said = estimate(spec)
    if as_json:
        echo_json(said)
    else:
        print_estimate(said)
    if sample is None:
        return 0
    from dataclasses import replace

    from dispatcher.cli.job_files.run import LAPTOP_CHUNK_S
    from dispatcher.rendering import Options, render
    from dispatcher.views.naming import DEFAULT_PATTERN

    part = replace(spec, name=f"{spec.name[:56]}-sample", sample=sample)
    options = Options(
        out=None, pattern=DEFAULT_PATTERN, devices=devices, plain=as_json, new=False, chunk_s=LAPTOP_CHUNK_S
    )
    return render(farm, part, source=again("check", file, changes, "--sample", str(sample)), options=options)


@click.command(short_help="Print the JSON Schema of a job file.")
def schema() -> None:
    """Print the JSON Schema of a job file, for editors and scripts."""
    from storage.spec import JobFile

    echo_json(JobFile.model_json_schema())


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes farm commands in your shell.

    bash: put eval "$(farm completion bash)" into ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    from dispatcher.cli.root import main

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "farm", "_FARM_COMPLETE").source())
