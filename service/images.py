"""Operation: builds the image of a recipe, or finds it built.

Ahead of the deployment and in a step of its own, so that its output is seen and a failure costs no deployment.
"""

from __future__ import annotations

import io
import json
import re
import shlex
from collections import deque
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modal
from modal.exception import Error as ModalError

from engines import weights as fetching
from service.failure import Failure
from service.failures import recognise
from service.process import serve
from service.recipe import DEBIAN_SLIM, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.progress import Progress
    from spec import Weights

WEIGHTS = "/usr/local/share/weights"
"""Where an image holds the weights; engines look below their Python's prefix, which is /usr/local in these images."""

_SCRIPT = "/usr/local/share/coldsnap/weights.py"
"""Below /usr/local, the one place that an image without containers can write to."""

_LAST_LINES = 30
_FETCHED = re.compile(r'\[\{"name": ')
"""The script's last line: the files that it has put there, as JSON; in sync with engines/weights.py."""


def build(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The built image's id, the digest of its recipe, by which services share it, and the size of what it fetched."""
    output, recipe = BuildOutput(progress), Recipe.model_validate(request["recipe"])
    try:
        with redirect_stdout(output), modal.enable_output():
            image = layers(recipe).build()
    except ModalError as error:
        rest = [line for line in output.last if line not in str(error)]
        known = recognise([*rest, *str(error).splitlines()])
        advice = [str(known)] if known else []
        raise Failure("\n".join([f"The image could not be built. {error}", *rest, *advice])) from error
    return {"image_id": image.object_id, "recipe": recipe.digest, "weights_bytes": _fetched_bytes(output.last)}


def _fetched_bytes(lines: Iterable[str]) -> int | None:
    """Of the weights that a build has fetched; none where it says nothing of any, as an image that was there before."""
    for line in filter(_FETCHED.match, lines):
        with suppress(ValueError):
            return sum(int(file["size"]) for file in json.loads(line))
    return None


def layers(recipe: Recipe) -> modal.Image:
    """The recipe as the client's image: what changes most rarely first, and the environment before what reads it."""
    image = _base(recipe)
    if recipe.env:
        image = image.env(recipe.env)
    if recipe.apt:
        image = image.apt_install(*recipe.apt)
    if recipe.pip:
        image = image.pip_install(*recipe.pip, extra_index_url=recipe.extra_index)
    for place, file in recipe.files.items():
        image = image.add_local_file(file, place, copy=True)
    if recipe.run:
        image = image.run_commands(*recipe.run)
    return _with_weights(image, recipe)


def _base(recipe: Recipe) -> modal.Image:
    if recipe.base == DEBIAN_SLIM:
        return modal.Image.debian_slim(python_version=recipe.python)
    return modal.Image.from_registry(recipe.base, add_python=recipe.python).entrypoint([])


def _with_weights(image: modal.Image, recipe: Recipe) -> modal.Image:
    weights = recipe.weights
    if weights is None:
        return image
    if weights.path:
        add = image.add_local_dir if Path(weights.path).is_dir() else image.add_local_file
        return add(weights.path, f"{WEIGHTS}/{weights.file}", copy=True)
    secrets = [modal.Secret.from_name(weights.token_secret)] if weights.token_secret else []
    script = image.add_local_file(fetching.__file__, _SCRIPT, copy=True)
    return script.run_commands(fetch_command(weights), secrets=secrets)


def fetch_command(weights: Weights) -> str:
    """Fetches weights into the image, and leaves nothing there of the packages that this takes."""
    source = fetching.source_of(weights.model_dump(mode="json"), weights.file)
    run = f"python {_SCRIPT} {shlex.quote(json.dumps(source))} {WEIGHTS}"
    if not (packages := " ".join(fetching.requirements(source))):
        return run
    return (
        f'tools=$(mktemp -d) && python -m pip install --target "$tools" {packages} '
        f'&& PYTHONPATH="$tools" {run} && rm -rf "$tools"'
    )


class BuildOutput(io.TextIOBase):
    """The client's own rendering of a build, line by line into the status."""

    def __init__(self, progress: Progress) -> None:
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self._progress = progress
        self._begun = ""

    def write(self, text: str) -> int:
        """Whole lines are told; what is no line yet waits for its end."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(None, (line.strip() for line in lines)):
            self.last.append(line)
            self._progress.status(f"building the image: {line}")
        return len(text)


if __name__ == "__main__":
    serve(build)
