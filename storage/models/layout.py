"""Which files a model of a kind is made of, and what it is.

The one place that decides, for folders, single files and repositories of the hub that are only looked at.

Only what a pipeline loads counts. Pickles are never read, since loading one runs code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.errors import ModelMissing, ModelUnusable, UnreadableFile
from storage.models.anatomy.pipelines import INDEX, native_size, part_files, pipeline_class, pipeline_files
from storage.models.anatomy.recognition import Recognised, recognise
from storage.models.anatomy.scorers import AESTHETIC, HEAD, scorer_of
from storage.models.anatomy.trees import LocalPlace, Tree, local_tree
from storage.models.digests import SUFFIXES
from storage.models.sources import parse_hub
from storage.yaml_text import parse_yaml

FILE: Final = "model.safetensors"  # what a model of one file is called, wherever it lies
NOTE: Final = "model.yaml"  # says how an SD 2 file was trained, which the file itself does not
ADAPTER, ENCODER = "ip_adapter.safetensors", "image_encoder"
FAKE: Final = "fake.json"
PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_CHECKER: Final = "StableDiffusionSafetyChecker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """A model before its files are at hand: what it is, and the names of its files."""

    kind: str
    family: str  # pipeline class, class of a part, or what an adapter fits: sd1, sd2, sdxl, other
    width: int | None = None  # pixels, of a checkpoint
    height: int | None = None
    names: Mapping[str, str]  # name in the model -> name where it lies
    variant: str | None = None  # the copy of the weights that was chosen, such as fp16
    preset: str | None = None  # of a checkpoint of one file: the configs that it is loaded with


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A model on this host."""

    kind: str
    family: str
    width: int | None
    height: int | None
    files: Mapping[str, Path]  # by name in the model; the digest goes over these
    variant: str | None
    preset: str | None


def inspect(path: Path, kind: str | None, *, source: str, variant: str | None = None) -> Layout:
    """Look at a model on this host.

    Args:
        path: A folder or a .safetensors file.
        kind: What it must be, one of KINDS; None: whatever it is.
        source: How the user named it.
        variant: Which copy of the weights to prefer; None: what the source says.

    Raises:
        ModelMissing: There is nothing.
        ModelUnusable: Something else, or something that is not all there.
    """
    if not path.exists():
        raise ModelMissing(source, "no such file or folder on this host; copy or mount it there under the same path")
    named = None if Path(source).is_absolute() else parse_hub(source)
    encoder = None
    if named is not None and named.path and path.as_posix().endswith(f"/{named.path}"):  # in the hub's cache
        root, entry, encoder = path.parents[named.path.count("/")], named.path, named.encoder
        tree = local_tree(root, source=source)
    elif path.is_dir():
        root, entry, tree = path, "", local_tree(path, source=source)
    else:
        root, entry, tree = path.parent, path.name, _beside(path, source)
    variant = variant or (named.variant if named else None)
    found = outline(tree, kind, entry=entry, variant=variant, encoder=encoder)
    return Layout(
        kind=found.kind, family=found.family, width=found.width, height=found.height, variant=found.variant,
        preset=found.preset, files={name: root / place for name, place in sorted(found.names.items())},
    )  # fmt: skip


def outline(
    tree: Tree, kind: str | None, *, entry: str = "", variant: str | None = None, encoder: str | None = None
) -> Outline:
    """Decide what a model is, and from which files.

    Args:
        tree: All files that there are.
        kind: What it must be; None: whatever it is.
        entry: A file in the tree, or a folder; "": the whole tree.
        variant: Which copy of the weights to prefer.
        encoder: Folder of an IP-Adapter's image encoder; None: image_encoder beside it.

    Raises:
        ModelUnusable: See `inspect`.
    """
    if entry.endswith(PICKLES):
        raise ModelUnusable(tree.source, "is a pickle, which can run code when it is loaded; take a .safetensors file")
    if entry and entry in tree.names:
        found = _file(tree, entry, encoder)
    else:
        found = _folder(tree.under(entry) if entry else tree, kind, variant=variant, encoder=encoder)
    if kind is not None and kind != found.kind:
        raise ModelUnusable(tree.source, f"is a {found.kind} ({found.family}), no {kind}")
    return found


def _beside(file: Path, source: str) -> Tree:
    """A file with what may belong to it: a note, an image encoder."""
    encoder = [each for each in (file.parent / ENCODER).glob("*") if each.is_file()]
    found = [each for each in (file, file.with_suffix(".yaml"), *encoder) if each.is_file()]
    names = [each.relative_to(file.parent).as_posix() for each in found]
    return Tree(source, {name: name for name in names}, LocalPlace(file.parent, source))


def _file(tree: Tree, entry: str, encoder: str | None) -> Outline:
    if not entry.endswith(".safetensors"):
        raise ModelUnusable(tree.source, "must be a .safetensors file or a folder")
    found = recognise(tree.header(entry), source=tree.source)
    if found.kind == "ip_adapter":
        return _ip_adapter(tree, entry, found=found, encoder=encoder)
    names, side, preset = {FILE: tree.names[entry]}, found.side, found.preset
    if preset == "sdxl" and found.prediction == "v_prediction":
        preset = "sdxl-v"
    if preset == "sd2":
        preset, side = _sd2(tree, entry, found, names)
    return Outline(kind=found.kind, family=found.family, width=side, height=side, names=names, preset=preset)


def _sd2(tree: Tree, entry: str, found: Recognised, names: dict[str, str]) -> tuple[str, int]:
    """The two kinds of SD 2 hold the same tensors; which one it is must be told. Adds the note to the names."""
    note = entry.removesuffix(".safetensors") + ".yaml"
    said = found.prediction
    if note in tree.names:
        names[NOTE] = tree.names[note]
        said = _parameterization(tree, note)
    if said is None:
        raise ModelUnusable(
            tree.source, "is an SD 2 checkpoint that does not say how it was trained; put beside it "
            f"{note.rpartition('/')[2]} with 'parameterization: v' (768 pixels) or 'parameterization: eps' (512)"
        )  # fmt: skip
    return ("sd2-v", 768) if said == "v_prediction" else ("sd2", found.side or 512)


def _parameterization(tree: Tree, note: str) -> str:
    try:
        said = parse_yaml(tree.place.read(tree.names[note]).decode(), where=note)
        params = said.get("model", {}).get("params", said)  # the shape of the files that SD 2 came with
        value = params.get("parameterization", "eps")
    except (UnreadableFile, UnicodeDecodeError, AttributeError):
        value = None
    if value not in ("v", "eps"):
        raise ModelUnusable(tree.source, f"{note}: parameterization must be v or eps")
    return "v_prediction" if value == "v" else "epsilon"


def _folder(tree: Tree, kind: str | None, *, variant: str | None, encoder: str | None) -> Outline:
    if FAKE in tree.names:
        return _fake(tree)
    if INDEX in tree.names:
        family, (width, height) = pipeline_class(tree), native_size(tree)
        found = pipeline_files(tree, variant=variant)
        names = {name: tree.names[name] for name in found.names}
        return Outline(kind="checkpoint", family=family, width=width, height=height, names=names, variant=found.variant)
    config = tree.json("config.json")
    part = _part(config) or scorer_of(tree, config, wanted=kind)
    if part is not None:
        found = part_files(tree, label="it", variant=variant)
        head = [HEAD] if part[0] == AESTHETIC and HEAD in tree.names else []
        names = {name: tree.names[name] for name in [*found.names, *head]}
        return Outline(kind=part[0], family=part[1], names=names, variant=found.variant)
    files = tree.top(".safetensors")
    if len(files) == 1 and not config:
        return _file(tree, files[0], encoder)
    raise ModelUnusable(tree.source, _strange(tree, files))


def _fake(tree: Tree) -> Outline:
    """A model of the renderer that draws test pictures."""
    said = tree.json(FAKE)
    width, height = (said.get(side, 64) for side in ("width", "height"))
    names = {name: place for name, place in tree.names.items() if Path(name).suffix in SUFFIXES}
    return Outline(kind="checkpoint", family="FakePipeline", width=width, height=height, names=names)


def _part(config: Mapping[str, object]) -> tuple[str, str] | None:
    """Kind and class of a folder that holds one part of a pipeline."""
    name = str(config.get("_class_name", ""))
    if _CHECKER in str(config.get("architectures", "")):
        return "safety_checker", _CHECKER
    if "ControlNet" in name:
        return "controlnet", name
    return ("vae", name) if name.startswith(("Autoencoder", "VQModel", "ConsistencyDecoder")) else None


def _strange(tree: Tree, files: list[str]) -> str:
    if files:
        return f"holds {len(files)} .safetensors files and no {INDEX}; name one of them"
    if any(name.endswith(PICKLES) for name in tree.names):
        return "holds pickles only, which can run code when they are loaded; take .safetensors files"
    return f"no {INDEX}; a model is a folder as diffusers' save_pretrained writes it, or a .safetensors file"


def _ip_adapter(tree: Tree, entry: str, *, found: Recognised, encoder: str | None) -> Outline:
    folder = entry.rpartition("/")[0]
    place = encoder or (f"{folder}/{ENCODER}" if folder else ENCODER)
    inside = tree.under(place)
    if "config.json" not in inside.names:
        raise ModelUnusable(
            tree.source, f"an IP-Adapter needs its image encoder, and there is no {place}/config.json; put it there"
        )
    part = part_files(inside, label=f"{place}/", variant=None)
    names = {ADAPTER: tree.names[entry], **{f"{ENCODER}/{name}": inside.names[name] for name in part.names}}
    return Outline(kind="ip_adapter", family=found.family, names=names)
