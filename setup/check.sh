#!/usr/bin/env bash
# Every check, the quick ones first.
set -euo pipefail
ruff check .
ruff format --check .
mypy
lint-imports
python -m localmodal.coverage --check
# What fails on a busy machine gets a second chance, alone and on a control plane of its own; both runs are printed.
python -m pytest || python -m pytest --last-failed --last-failed-no-failures none
