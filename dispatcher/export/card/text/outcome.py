"""The card's part on what came of the images: how many were rejected or failed, and of what. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from dispatcher.export.card.facts import JobFacts, shown_model
from dispatcher.export.card.tallying import Counts, Tally
from dispatcher.export.card.text.escaping import cell, code, number, percent, table

TOP: Final = 20  # prompts
_HEAD: Final = ("images", "exported", "rejected", "failed", "lost")
_RULES: Final = {
    "low_variance": "nearly one colour", "nsfw": "blackened by the safety checker", "truncated": "prompt cut",
    "exact_duplicate": "same pixels as an earlier image", "near_duplicate": "perceptual hash near an earlier image's",
}  # fmt: skip


def outcome(jobs: Sequence[JobFacts], tally: Tally, plots: Sequence[tuple[str, str]]) -> str:
    """The section, with its headings.

    Args:
        jobs: That the set was made of.
        tally: Counts.
        plots: File names and what they show.
    """
    parts = ["## What came of it", _summary(tally), *(f"![{shows}]({name})" for name, shows in plots)]
    parts += [_reasons(tally), _by("scheduler", tally.of("scheduler"))]
    parts += [_by(key, tally.of(key)) for key in ("model", "steps", "guidance_scale", "size") if len(tally.of(key)) > 1]
    parts += [_prompts(tally), _selection(jobs, tally), _scores(tally), _flags(tally)]
    return "\n\n".join(part for part in parts if part)


def _summary(tally: Tally) -> str:
    all_ = tally.all
    lost = (
        f", {number(all_.rejected)} {'was' if all_.rejected == 1 else 'were'} rejected by quality rules, "
        f"{number(all_.failed)} failed. The tables in `metadata/` have a row for each, with the reason."
    )
    none = "; none was rejected and none failed. The tables in `metadata/` have a row for each."
    counted = f"Of {number(all_.images)} images looked at, {number(all_.exported)} are in the data set"
    return counted + (lost if all_.lost else none)


def _reasons(tally: Tally) -> str:
    if not tally.reasons:
        return ""
    rows = [(outcome_, cell(why), number(count), percent(count, tally.all.images))
            for (outcome_, why), count in tally.reasons.most_common(TOP)]  # fmt: skip
    return f"### Reasons\n\n{table(('what', 'why', 'images', 'of all'), rows, right=2)}"


def _by(key: str, found: Mapping[Any, Counts]) -> str:
    if not found:
        return ""
    shown = {value: shown_model(value) if key == "model" and value else value for value in found}
    rows = [(_value(shown[value]), *_cells(counts)) for value, counts in list(found.items())[:TOP]]
    rest = list(found.values())[TOP:]
    rows += [(f"{len(rest)} more", *_cells(_total(rest)))] if rest else []
    return f"### By {key.replace('_', ' ')}\n\n{table((key.replace('_', ' '), *_HEAD), rows, right=5)}"


def _prompts(tally: Tally) -> str:
    """The prompts that lost most, then those with most images; the rest summed."""
    known = tally.prompts.known
    if not known or known.keys() == {b""}:
        return ""
    ranked = sorted(known, key=lambda key: (-known[key].lost, -known[key].images, tally.texts[key] or ""))
    rows = [(cell(tally.texts[key]), *_cells(known[key])) for key in ranked[:TOP]]
    rest = [known[key] for key in ranked[TOP:]]
    if rest or tally.prompts.is_full:
        more = f"{number(len(rest))}{' and more' if tally.prompts.is_full else ''} other prompts"
        rows.append((more, *_cells(_total([*rest, tally.prompts.rest]))))
    note = "The prompts that lost most come first." if tally.all.lost else "None lost an image."
    return f"### By prompt\n\n{note}\n\n{table(('prompt', *_HEAD), rows, right=5)}"


def _selection(jobs: Sequence[JobFacts], tally: Tally) -> str:
    ruled = [job for job in jobs if job.quality]
    if not ruled:
        return ""
    judged = tally.all.images - tally.all.failed
    kept = judged - tally.all.rejected
    parts = [
        "### Selection",
        f"Quality rules kept {number(kept)} of {number(judged)} rendered images ({percent(kept, judged)}).",
    ]
    rows = [(code(rule), said) for job in ruled for rule, said in _rules(job.quality or {})]
    parts.append(table(("rule", "rejects"), sorted(set(rows))))
    later = {take: counts for take, counts in tally.takes.known.items() if take}
    if later:
        takes = [(str(take), number(counts.images), percent(counts.images - counts.lost, counts.images))
                 for take, counts in sorted(tally.takes.known.items())]  # fmt: skip
        parts += [_TAKES, table(("take", "images", "kept"), takes, right=2)]
    return "\n\n".join(parts)


_TAKES: Final = "A rejected image was rendered again with another seed: take 0 is the image that the job states."


def _rules(quality: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, rule in quality.items():
        if rule == "reject":
            yield name, _RULES.get(name, name.replace("_", " "))
        elif isinstance(rule, Mapping) and "distance" in rule:
            yield name, f"{_RULES['near_duplicate']}, at most {rule['distance']} of 64 bits apart"
        elif isinstance(rule, Mapping):
            bounds = [f"{side} {rule[side]}" for side in ("below", "above") if rule.get(side) is not None]
            yield name, f"a score {' or '.join(bounds)}" if bounds else "nothing: measured only"


def _scores(tally: Tally) -> str:
    measured = {name: found for name, found in tally.scores.items() if found.count}
    spread = {name: (found.low, found.total / found.count, found.high) for name, found in measured.items()}
    rows = [(code(name), number(measured[name].count), *(f"{value:.3f}" for value in three))
            for name, three in spread.items()]  # fmt: skip
    return f"### Scores\n\n{table(('score', 'images', 'least', 'mean', 'greatest'), rows, right=4)}" if rows else ""


def _flags(tally: Tally) -> str:
    told = [f"{number(count)} {_FLAG_WORDS[name]}" for name, count in tally.flags.items() if count]
    return f"Flags, whether they reject or not: {', '.join(told)}." if told else ""


_FLAG_WORDS: Final = {
    "truncated": "with a prompt of which the model read a part", "nsfw": "blackened by the safety checker",
    "low_variance": "of nearly one colour",
}  # fmt: skip


def _cells(counts: Counts) -> tuple[str, ...]:
    told = (counts.images, counts.exported, counts.rejected, counts.failed)
    return (*(number(count) for count in told), percent(counts.lost, counts.images))


def _total(many: Iterable[Counts]) -> Counts:
    total = Counts()
    for counts in many:
        total.add((counts.images, counts.exported, counts.rejected, counts.failed))
    return total


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else cell(None if value is None else str(value))
