"""The app of a service, as the deploying side sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving import deployment

ROOT = Path(__file__).parents[2]

SHOW = """
import json, sys
sys.modules["llama_cpp"] = None  # an ImportError for whoever wants it
import engines.app as it
spec = lambda cls: cls._get_class_service_function()._spec_
show = lambda spec: {"gpus": spec.gpus, "cpu": spec.cpu, "memory": spec.memory}
print(json.dumps({"name": it.app.name, "snapshots": it._snapshots,
                  "service": show(spec(it.Service)), "twin": show(spec(it.Twin))}))
"""


def shown(**rest):
    env = {**os.environ, **deployment(**rest).environment()}
    done = subprocess.run([sys.executable, "-c", SHOW], cwd=ROOT, env=env, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_deploying_needs_none_of_the_engines_libraries():
    assert shown(name="talk")["name"] == "talk"


def test_the_twin_has_the_same_machine_as_the_service():
    app = shown(gpu=["H100", "A100-80GB"], cpu=2, memory=512)
    assert app["service"] == app["twin"] == {"gpus": ["H100", "A100-80GB"], "cpu": 2, "memory": 512}


@pytest.mark.parametrize(
    ("rest", "memory", "gpu"),
    [
        ({}, True, False),
        ({"gpu": "L40S"}, True, True),
        ({"gpu": "L40S", "snapshot": {"gpu": False}}, True, False),
        ({"gpu": "L40S", "snapshot": {"enabled": False}}, False, False),
    ],
    ids=["cpu", "gpu", "gpu outside", "none"],
)
def test_the_gpu_is_in_the_snapshot_where_there_is_one(rest, memory, gpu):
    snapshots = shown(**rest)["snapshots"]
    assert snapshots["enable_memory_snapshot"] is memory
    assert snapshots["experimental_options"] == ({"enable_gpu_snapshot": True} if gpu else {})
