"""The page that says what is served."""

import subprocess
import sys

import pytest

from localmodal import coverage
from localmodal.api.server import calls_of_the_client


def test_the_page_is_what_the_code_says():
    command = [sys.executable, "-m", "localmodal.coverage", "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_every_call_of_the_client_is_on_the_page_once():
    page = coverage.page()
    for name in calls_of_the_client():
        assert page.count(f"| `{name}` |") == 1, name


def test_a_stale_page_fails_the_check_and_is_left_as_it_is(tmp_path, monkeypatch, capsys):
    page = tmp_path / "local-modal.md"
    page.write_text("of yesterday")
    monkeypatch.setattr(coverage, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["coverage", "--check"])
    assert coverage.main() == 1
    assert "local-modal.md is stale" in capsys.readouterr().err
    assert page.read_text() == "of yesterday"
    monkeypatch.setattr(sys, "argv", ["coverage"])
    assert coverage.main() == 0
    assert page.read_text() == coverage.page()


def test_a_new_call_of_the_client_has_to_be_explained():
    with pytest.raises(coverage.CoverageError, match="BrandNewCall is not served"):
        coverage.purpose("BrandNewCall")
