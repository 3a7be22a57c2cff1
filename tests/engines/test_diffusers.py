"""The engine with the real classes of FLUX.2 [klein], at a tiny size and with random weights, on the CPU."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from painting import SIZES, definition

from engines.image_model import Drawing, Painting, Step

torch = pytest.importorskip("torch", reason="no torch here: test_in_the_image.py runs these where it is")

from engines.diffusers import Diffusers, WeightsError  # noqa: E402 - there only now

DRAWING = Drawing("A cat", SIZES[0], seed=5)


@pytest.fixture(scope="module")
def engine(flux2):
    engine = Diffusers(definition(), flux2)
    engine.load()
    yield engine
    engine.stop()


def painted(engine, drawing=DRAWING, hung_up=None):
    """Every item of one image."""
    items = []
    engine._turns.run(lambda: engine.paint(drawing, items.append, hung_up or threading.Event()))
    return items


def pixels(engine, **change):
    return np.asarray(painted(engine, Drawing(**{**vars(DRAWING), **change}))[-1].image).astype(int)


def test_an_image_has_its_size_and_is_more_than_one_colour(engine):
    for size in SIZES:
        width, height = map(int, size.split("x"))
        image = pixels(engine, size=size)
        assert image.shape == (height, width, 3)
        assert image.std() > 1


def test_the_same_seed_gives_the_same_image_and_another_seed_another(engine):
    assert (pixels(engine) == pixels(engine)).all()
    assert (pixels(engine) != pixels(engine, seed=6)).any()


def test_another_prompt_gives_another_image(engine):
    assert (pixels(engine) != pixels(engine, prompt="A dog")).any()


def test_every_step_is_told_and_then_the_painting(engine):
    items = painted(engine)
    assert items[:-1] == [Step(1), Step(2), Step(3), Step(4)]
    assert isinstance(items[-1], Painting)
    assert items[-1].image_tokens == 4


def test_previews_come_closer_to_the_image_and_behind_the_last_step_are_the_image(engine):
    *steps, painting = painted(engine, Drawing("A cat", SIZES[1], 5, frozenset({1, 2, 3, 4})))
    final = np.asarray(painting.image).astype(int)
    distances = [np.abs(np.asarray(step.preview) - final).mean() for step in steps]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0
    assert distances[-1] == 0


def test_a_preview_changes_nothing_of_the_image(engine):
    assert (pixels(engine, previews=frozenset({2})) == pixels(engine)).all()


def test_who_hangs_up_ends_the_image_at_the_next_step(engine):
    hung_up = threading.Event()
    hung_up.set()
    assert painted(engine, hung_up=hung_up) == []
    assert len(painted(engine)) == 5  # and the next one is painted whole


async def test_the_first_answer_is_the_same_before_a_snapshot_and_after(engine):
    before = await engine.first_answer()
    engine.release()
    engine.resume()
    assert await engine.first_answer() == before
    assert before.startswith("32x32, pixels ")


def test_two_copies_of_one_snapshot_draw_differently_where_a_library_draws_by_itself(engine):
    def drawn():
        torch.manual_seed(1)  # the state that both have from the snapshot
        engine.resume()
        return torch.rand(4).tolist()

    assert drawn() != drawn()


def test_after_warming_up_no_size_that_is_served_is_compiled(flux2):
    from torch._dynamo.utils import counters  # noqa: PLC0415

    engine = Diffusers(definition(compile=True, steps=1), flux2)
    engine.load()
    engine.warm_up()
    engine.release()
    compiled = counters["stats"]["unique_graphs"]
    assert compiled == 2 * len(SIZES)  # two kinds of blocks
    for size in SIZES:
        pixels(engine, size=size)
    assert counters["stats"]["unique_graphs"] == compiled
    assert not psutil.Process().children()  # no compile workers, which a snapshot could not hold
    engine.stop()


def test_weights_are_in_bf16(engine):
    assert engine._pipeline.transformer.dtype == engine._pipeline.text_encoder.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["model_index.json", "transformer/config.json", "vae"])
def test_weights_that_lack_something_are_named(flux2, tmp_path, name):
    folder = tmp_path / "part"
    shutil.copytree(flux2, folder)
    lost = folder / name
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    assert "part" in failure(folder)


def test_a_file_that_is_cut_off_is_named(flux2, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(flux2, folder)
    file = folder / "transformer/diffusion_pytorch_model.safetensors"
    os.truncate(file, file.stat().st_size // 2)
    assert "cut" in failure(folder)


def failure(folder):
    engine = Diffusers(definition(), folder)
    with pytest.raises(WeightsError) as error:
        engine.load()
    engine.stop()
    return str(error.value)


def test_a_service_on_a_gpu_does_not_fall_back_to_the_cpu(flux2):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    engine = Diffusers(definition(gpu="L40S"), flux2)
    with pytest.raises((WeightsError, RuntimeError), match=r"(?i)cuda"):
        engine.load()
    engine.stop()


def test_what_the_image_asks_for_is_what_was_run():
    import importlib.metadata as installed  # noqa: PLC0415

    pins = dict(pin.split("==") for pin in definition().engine.REQUIREMENTS)
    assert {name: installed.version(name) for name in pins} == pins


def test_deploying_needs_neither_torch_nor_diffusers():
    program = (
        "import sys; sys.modules['torch'] = sys.modules['diffusers'] = None; "
        "from spec.engines import Engine; import engines.container, engines.engine"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)
