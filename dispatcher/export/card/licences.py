"""What is known of the models' licences: for the card's front matter, and as LICENSE-NOTES.md. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from dispatcher.export.card.facts import JobFacts, ModelFact
from dispatcher.export.card.text.escaping import cell, code, table

NOTES: Final = "LICENSE-NOTES.md"
UNKNOWN: Final = "unknown"

# Identifiers that the hub takes in a card; a card with another one is refused when it is uploaded.
_HUB: Final = frozenset(
    """apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m openrail++ bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0
    cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
    cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
    cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl
    gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openmdw-1.0 osl-3.0 postgresql
    ofl-1.1 ncsa unlicense zlib pddl""".split()  # noqa: SIM905 one word a licence reads better than a list of quotes
)


def models_of(jobs: Iterable[JobFacts]) -> list[ModelFact]:
    """Every model of some jobs once, checkpoints first."""
    found = {(model.digest or model.name, model.kind): model for job in jobs for model in job.models}
    return sorted(found.values(), key=lambda model: (model.kind != "checkpoint", model.kind, model.name))


def agreed(models: Sequence[ModelFact]) -> str | None:
    """The licence that all models share, if it is one that the hub knows."""
    said = {model.license for model in models}
    return next(iter(said)) if len(said) == 1 and said <= _HUB else None


def notes(jobs: Sequence[JobFacts]) -> str:
    """The text of LICENSE-NOTES.md."""
    models = models_of(jobs)
    rows = [
        (cell(model.name), model.kind, _source(model), cell(model.license) if model.license else UNKNOWN,
         code(model.digest) if model.digest else UNKNOWN)
        for model in models
    ]  # fmt: skip
    listed = table(("model", "kind", "source", "licence as registered", "digest"), rows)
    silent = [model for model in models if not model.license]
    open_points = [_CHECKS, *([_SILENT.format(count=len(silent))] if silent else [])]
    return (
        f"# Notes on licences\n\n{_INTRO}\n\n{listed}\n\n## What is left to check\n\n" + "\n".join(open_points) + "\n"
    )


def _source(model: ModelFact) -> str:
    if model.source is None:
        return "files of the farm's owner"
    return f"[{cell(model.source)}]({model.page})" if model.page else cell(model.source)


_INTRO: Final = (
    "The images were made by the models below, and scored by those of kind clip, aesthetic or safety. A licence stands "
    "here as the hub told it when the model was registered with the farm; nobody has read the licence texts for this "
    "file."
)
_CHECKS: Final = (
    "- What each licence says of images that the model makes: some restrict what they may be used for, or want to be "
    "passed on with them.\n"
    "- Prompts, input images and masks have owners of their own.\n"
    "- `license:` in README.md is what all models share, if they do; otherwise it is `other` and points here. Change "
    "both once you have decided."
)
_SILENT: Final = "- {count} of the models came without a licence: files from a folder, or a hub page that names none."
