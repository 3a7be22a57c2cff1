"""Containers that cannot start: the update says why, ends them all, and leaves what is deployed to the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from faulty import NAME, SMALL, Steady

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = """python -c "import importlib.util as u; open(u.find_spec('llama_cpp').origin, 'w').write('{code}')" """


@pytest.fixture
def declare_broken(steady: Steady, tmp_path: Path) -> object:
    """Declares the service with other code in place of the engine's library; its weights are never looked at."""
    weights = tmp_path / "never-read.gguf"
    weights.write_bytes(b"GGUF")

    def declare(code: str, **warmup: float) -> None:
        image = {"run": [BROKEN.format(code=code).strip()]}
        silence = {"CS006": "nothing reads it"}
        steady.declare_service(image=image, weights={"path": str(weights)}, warmup=SMALL | warmup, silence=silence)

    return declare


def test_a_container_that_hangs_at_load_is_ended_when_the_warm_up_gives_up(steady: Steady, declare_broken) -> None:
    declare_broken("import time; time.sleep(9999)", timeout=4)
    said = steady.up(fails=True)
    assert f"{NAME}: the snapshot is not proved: a container did not answer within 4 s" in said
    assert "raise warmup.max_starts or warmup.timeout" in said
    assert "The containers wrote nothing to their log." in said
    assert not steady.operations()
    steady.wait_until_nothing_runs()
    assert steady.steps() == {"SnapshotWarmup": "update"}
    steady.declare_service()
    steady.up()
