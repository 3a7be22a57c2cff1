import pytest

from spec.diffusers import DiffusersEngine, DiffusersOptions
from spec.problems import InputError, explained


def problem(**options):
    with pytest.raises(InputError) as error:
        explained(DiffusersOptions, options, "options")
    return str(error.value)


def test_the_defaults_are_those_of_the_distilled_model():
    options = DiffusersOptions()
    assert (options.sizes, options.steps, options.guidance_scale) == (("1024x1024",), 4, 1.0)


@pytest.mark.parametrize("size", ["1000x1024", "1024", "1024x", "x1024", "0x16", "-16x16", "1024x1024x16", "large"])
def test_a_size_that_the_model_cannot_make_is_refused(size):
    assert "options.sizes[1]" in problem(sizes=["1024x1024", size])
    assert f'"{size}" is no size: width and height in multiples of 16' in problem(sizes=["1024x1024", size])


def test_one_size_at_least_is_served_and_not_more_than_torch_compiles():
    assert "options.sizes" in problem(sizes=[])
    assert "options.sizes" in problem(sizes=[f"{16 * side}x16" for side in range(1, 10)])


def test_no_helper_process_compiles():
    assert DiffusersEngine.ENVIRONMENT["TORCHINDUCTOR_COMPILE_THREADS"] == "1"


def test_weights_are_mapped_on_a_cpu_only():
    assert DiffusersEngine().maps_weights(on_gpu=False)
    assert not DiffusersEngine().maps_weights(on_gpu=True)
