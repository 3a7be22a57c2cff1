"""Runs tests in an image with torch, that of the stack `local-images`, and prints what pytest says.

python -m tests.engines.in_the_image diffusers|sglang FILE...
"""

import sys
from pathlib import Path

import modal

from setup.tiny_flux2 import image
from spec.sglang import SglangEngine

ROOT = Path(__file__).parents[2]
THERE = "/root/coldsnap"
PARTS = ("engines", "service", "spec", "tests/engines", "tests/stack")
PACKAGES = ("httpx", "psutil", "pytest", "pytest-asyncio", "uvicorn")

SGLANG = ("tokenizers==0.22.2", "huggingface-hub==1.33.0", "torchvision==0.29.2")
"""Beside SGLang itself and its transformers. Its kernels and its own torch, 5 GB, take no part in reading arguments."""
SGLANG_IMPORTS = (
    *("IPython==9.18.1", "aiohttp==3.14.5", "cloudpickle==3.1.3", "compressed-tensors==0.20.0", "dill==0.4.1"),
    *("distro==1.9.0", "easydict==1.14", "einops==0.8.2", "fastapi==0.165.0", "gguf==0.19.0", "interegular==0.3.3"),
    *("msgspec==0.22.0", "nvidia-ml-py==13.615.71", "openai==2.6.1", "openai-harmony==0.0.4", "orjson==3.13.0"),
    *("partial-json-parser==0.2.1.1.post7", "pybase64==1.5.1", "python-multipart==0.0.34", "pyzmq==27.3.0"),
    *("requests==2.34.2", "sentencepiece==0.2.3", "setproctitle==1.3.8", "tiktoken==0.14.0", "uvloop==0.22.1"),
    *("watchfiles==1.3.0", "xgrammar==0.2.1", "xxhash==4.1.0", "zstandard==0.25.0"),
)

app = modal.App("tests-in-the-image")


def diffusers() -> modal.Image:
    return image().pip_install(*pinned("openai"))


def sglang() -> modal.Image:
    own = (one for one in SglangEngine.REQUIREMENTS if one.startswith(("sglang==", "transformers==")))
    return (
        image()
        .run_commands(f"python -m pip install --no-deps {' '.join((*own, *SGLANG))}")
        .pip_install(*SGLANG_IMPORTS)
    )


def with_tests(made: modal.Image) -> modal.Image:
    made = made.pip_install(*pinned(*PACKAGES))
    for part in PARTS:
        made = made.add_local_dir(ROOT / part, f"{THERE}/{part}", ignore=["**/__pycache__"])
    return made.add_local_file(ROOT / "pyproject.toml", f"{THERE}/pyproject.toml")


def pinned(*names: str) -> list[str]:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    return [f"{name}=={pins[name]}" for name in names]


def tested(files: list[str]) -> tuple[int, str]:
    import subprocess  # noqa: PLC0415 - it is sent pickled
    import sys  # noqa: PLC0415

    command = [sys.executable, "-m", "pytest", "--confcutdir=tests/engines", "-rs", *files]
    both = subprocess.STDOUT
    done = subprocess.run(command, cwd="/root/coldsnap", text=True, stdout=subprocess.PIPE, stderr=both, check=False)
    return done.returncode, done.stdout


if __name__ == "__main__":
    made = {"diffusers": diffusers, "sglang": sglang}[sys.argv[1]]()
    there = app.function(image=with_tests(made), serialized=True, cpu=2, timeout=1800)(tested)
    with app.run():
        code, said = there.remote(sys.argv[2:])
    print(said)  # noqa: T201 - the program's answer
    sys.exit(code)
