"""The tables of docs/renderer.md, from the cases that the renderer is held to: `python -m renderer_table` in tests/."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from renderer_cases import CASES, Case
from storage.spec.fields import FIELDS, MODES

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "renderer.md"
BEGIN, END = "<!-- {}: from tests/renderer_table.py -->", "<!-- end of {} -->"
_FAMILIES: Final[Mapping[str, str]] = {
    "sd": "Stable Diffusion 1, 2", "sd_v": "the same, predicting v", "sd_inpaint": "the same, for inpainting",
    "sd_depth": "the same, for depth", "sdxl": "SDXL", "sdxl_inpaint": "SDXL for inpainting",
    "refiner": "SDXL refiner by itself", "sd3": "Stable Diffusion 3", "sd3_without_t5": "the same without T5",
    "flux": "Flux, dev", "flux_schnell": "Flux, schnell", "qwen": "Qwen-Image", "z_image": "Z-Image",
    "ddpm": "DDPM, without a prompt",
}  # fmt: skip


def tables() -> Mapping[str, str]:
    """Markdown by the table's name."""
    return {"modes": _modes(), "options": _options()}


def written(page: str) -> str:
    """A page with its tables brought up to date."""
    for name, table in tables().items():
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"
    return page


def _modes() -> str:
    done = {(case.model, case.mode) for case in CASES}
    lines = [["weights", *MODES], ["---"] * (len(MODES) + 1)]
    lines += [
        [title, *("yes" if (model, mode) in done else "" for mode in MODES)] for model, title in _FAMILIES.items()
    ]
    return _table(lines)


def _options() -> str:
    lines = [["key", "shown on", "held against"], ["---"] * 3]
    for key in FIELDS:
        cases = [case for case in CASES if case.key == key]
        notes = dict.fromkeys(case.note or "a plain call" for case in cases)
        lines.append([f"`{key}`", _where(cases) or "not tried", "; ".join(notes)])
    return _table(lines)


def _where(cases: Iterable[Case]) -> str:
    """Modes with the models beneath."""
    by_mode: dict[str, dict[str, None]] = {}
    for case in cases:
        with_it = "".join(f" + {name}" for name in ("controlnet", "refiner", "ip_adapter") if name in case.given)
        by_mode.setdefault(case.mode, {})[f"{case.model}{with_it}"] = None
    return "; ".join(f"{mode}: {', '.join(models)}" for mode, models in by_mode.items())


def _table(lines: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
