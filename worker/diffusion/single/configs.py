"""How the parts of a checkpoint of one file are built: configs of the models that people share as single files.

Written from the papers and the configs of the released models; they hold no weights. A preset may be `like` another
one and names only what differs.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).parent / "presets"
_FILES: Final = {"scheduler": "scheduler_config.json"}  # where it is not config.json


def preset(name: str) -> dict[str, Any]:
    """The configs of a preset by part, with `model_index.json` and `pads` (tokenizer -> padding token)."""
    own: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text())
    like = own.pop("like", None)
    base = preset(like) if like else {}
    return {part: {**base.get(part, {}), **own.get(part, {})} for part in {**base, **own}}


def write_folder(configs: Mapping[str, Any], folder: Path) -> None:
    """Write configs as the folder that diffusers reads them from."""
    for part, config in configs.items():
        if part == "pads":
            continue
        file = folder / part if part.endswith(".json") else folder / part / _FILES.get(part, "config.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(config))
