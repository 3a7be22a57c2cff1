"""A stack in Pulumi's own file backend."""

from __future__ import annotations

from pathlib import Path

import pytest
from pulumi_state import Stack, pulumi

SOURCE = Path(__file__).resolve().parents[2]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """An empty stack, and a backend that holds nothing else."""
    (tmp_path / "Pulumi.yaml").write_text("name: coldsnap\nruntime: python\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "1")
    pulumi("stack", "init", "dev")
    return Stack(tmp_path)
