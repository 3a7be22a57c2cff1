"""A small service that paints."""

import io
import os
from base64 import b64decode

from PIL import Image

from spec import ServiceSpec
from spec.deployment import Deployment
from spec.diffusers import DiffusersEngine

SIZES = ["32x32", "48x32"]

os.environ.update(DiffusersEngine.ENVIRONMENT)  # as in a container: before torch is loaded


def definition(*, gpu="none", **options):
    """What its containers are told."""
    engine = {"kind": "diffusers", "options": {"sizes": SIZES, **options}}
    spec = ServiceSpec.model_validate(
        {"name": "images", "engine": engine, "weights": {"path": "tiny-flux2"}, "gpu": gpu}
    )
    return Deployment.of(spec, app_name=spec.name, image_id="im-1", code_digest="c0de").definition


def decoded(b64_json):
    """The image of an answer."""
    image = Image.open(io.BytesIO(b64decode(b64_json)))
    image.load()
    return image
