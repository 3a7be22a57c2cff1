"""The weights of the stack `local-images`: FLUX.2 [klein] in miniature, in build/tiny-flux2.

torch, which makes them, is 6 GB, and in the service's own image anyway: they are made there, by a function on the
backend that the environment names.

    . setup/activate && eval "$(coldsnap local env)" && python setup/tiny_flux2.py
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import modal
import yaml

from service.images import layers
from service.recipe import Recipe
from spec import ServiceSpec

ROOT = Path(__file__).resolve().parents[1]
MAKER = "/usr/local/share/tiny_flux2.py"
ELSEWHERE = {"url": "https://example.org/nowhere", "sha256": "0" * 64, "place": "volume"}
"""In place of what is not made yet: so the image holds no weights."""

app = modal.App("tiny-flux2")


def image() -> modal.Image:
    """The stack's own, up to the weights."""
    stack = yaml.safe_load((ROOT / "stacks/Pulumi.local-images.yaml").read_text())
    service = stack["config"]["coldsnap:services"][0] | {"weights": ELSEWHERE}
    return layers(Recipe.of(ServiceSpec.model_validate(service)))


@app.function(image=image().add_local_file(ROOT / "tests/engines/tiny_flux2.py", MAKER), serialized=True, timeout=600)
def made() -> bytes:
    """The folder, as an archive."""
    import io  # noqa: PLC0415 - it is sent pickled
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415
    import tarfile  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    folder = tempfile.mkdtemp()
    subprocess.run([sys.executable, MAKER, folder], check=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(folder, "tiny-flux2")
    return archive.getvalue()


if __name__ == "__main__":
    with modal.enable_output(), app.run():
        archive = made.remote()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(ROOT / "build", filter="data")
