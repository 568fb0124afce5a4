"""What goes on between two steps: previews, stops, cutoffs, callbacks; and what an image does not depend on."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from renderer_bench import (
    CONTROL,
    I2I,
    IP,
    LONG,
    LORA,
    MARKS,
    REFINER,
    T2I,
    Bench,
    Each,
    Models,
    Watch,
    installed,
    job,
    pipes_of,
    pixels_of,
    rows,
    same,
    state_of,
)
from storage.errors import OptionRefused, RefusedHere
from storage.spec.fields import INPAINT
from worker.renderer import StopRendering

pytestmark = MARKS


@pytest.fixture(scope="module")
def bench(tiny_models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        installed(patch, tmp_path_factory.mktemp("site"))
        yield Bench(tiny_models, tmp_path_factory.mktemp("home"), callbacks="fade, flood")


@pytest.mark.parametrize("model", ["sd", "sdxl", "sd3", "flux", "qwen", "z_image"])
def test_previews_are_small_pictures_that_change_no_pixel(bench: Bench, model: str) -> None:
    watch = Watch(every=2)
    plain = bench.pixels(rows(job(model=model, width=48), 2))

    made = bench.draw(rows(job(model=model, width=48), 2), watch=watch)

    assert [slot for slot, _ in watch.frames] == [0, 1]
    assert {frame.size for _, frame in watch.frames} == {(24, 16)}
    assert all(len(frame.getcolors(10**6) or []) > 20 for _, frame in watch.frames)
    assert [pixels_of(one) for one in made] == plain


@pytest.mark.parametrize("given", [{}, LORA, IP, CONTROL, {**REFINER, "refiner_strength": 0.9}], ids=str)
def test_a_stop_leaves_between_two_steps_and_spoils_nothing(bench: Bench, given: dict[str, Any]) -> None:
    before = bench.pixels(rows(job(**given), 2))
    weights = state_of(bench)

    for last in (1, 3, 4) if "refiner" in given else (1, 3):
        watch = Watch(stop_at=last)
        with pytest.raises(StopRendering):
            bench.draw(rows(job(**given), 2), watch=watch)
        assert watch.steps[-1][0] == last

    assert same(weights, state_of(bench))
    assert bench.pixels(rows(job(**given), 2)) == before
    assert not any("decode" in vars(pipe.vae) for pipe in pipes_of(bench))


@pytest.mark.parametrize(
    ("mode", "given"), [
        (T2I, {}), (T2I, {"scheduler": "dpmpp_sde"}), (T2I, {"scheduler": "euler_a"}),
        (I2I, {"init_image": Each("one", "two"), "strength": 0.7}), (T2I, {"cfg_cutoff": 0.4}),
        (INPAINT, {"init_image": Each("one", "two"), "mask": Each("mask", "corner"), "padding_mask_crop": 4}),
        (T2I, {"long_prompts": "chunk", "prompt": Each("a cat", LONG)}), (T2I, IP),
        (T2I, {"model": "sdxl", "negative_original_size": [64, 8], "negative_target_size": [8, 64]}),
        (T2I, {**REFINER, "refiner_start": 0.5, "steps": 4}), (T2I, {"model": "sd3"}),
        (T2I, {"model": "flux"}), (T2I, {"model": "qwen"}), (T2I, {"model": "z_image"}),
    ], ids=str,
)  # fmt: skip
def test_an_image_does_not_depend_on_its_place_or_its_company(bench: Bench, mode: str, given: dict[str, Any]) -> None:
    one, other = rows(job(**given), 2)

    first = bench.pixels([one, other], mode=mode)
    turned = bench.pixels([other, one], mode=mode)
    padded = bench.pixels([one, one], mode=mode)

    assert first == turned[::-1]
    assert padded == [first[0]] * 2


def test_an_end_at_the_beginning_is_none_at_all(bench: Bench) -> None:
    unguided, unadapted = job(guidance_scale=1.0), job(**IP, ip_adapter_scale=0.0)

    assert bench.pixels(rows(job(cfg_cutoff=0), 2)) == bench.pixels(rows(unguided, 2))
    assert bench.pixels(rows(job(cfg_cutoff={"step": 0}), 2)) == bench.pixels(rows(unguided, 2))
    assert bench.pixels(rows(job(**IP, ip_adapter_cutoff=0), 2)) == bench.pixels(rows(unadapted, 2))


def test_cutoffs_schedules_and_callbacks_go_together(bench: Bench) -> None:
    fade = {"callbacks": [{"name": "fade", "options": {"factor": 0.8}}]}
    pieces = {"dynamic_guidance": [[0.0, 9.0], [0.3, 4.0]], "steps": 4}
    parts = [{"cfg_cutoff": 0.7}, {**IP, "ip_adapter_cutoff": 0.5}, fade]
    seen = []

    for count in range(len(parts) + 1):
        given = {key: value for part in parts[:count] for key, value in part.items()}
        seen.append(bench.pixels(rows(job(**pieces, **given), 2)))

    assert len({image for pair in seen for image in pair}) == 2 * len(seen)


@pytest.mark.parametrize(
    ("callback", "reason", "here"), [
        ({"name": "fades"}, "did you mean 'fade'", True), ({"name": "hush"}, "FARM_CALLBACKS", True),
        ({"name": "fade", "options": {"speed": 3}}, "speed", False),
    ], ids=["unknown", "not allowed", "wrong option"],
)  # fmt: skip
def test_a_callback_that_cannot_be_run_is_refused_by_name(
    bench: Bench, callback: dict[str, Any], reason: str, here: bool
) -> None:
    with pytest.raises(OptionRefused, match=reason) as caught:
        bench.check(rows(job(callbacks=[callback]), 1)[0])

    assert caught.value.args[0] == "callbacks"
    assert isinstance(caught.value, RefusedHere) is here
