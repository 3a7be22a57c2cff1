#!/usr/bin/env bash
# Every check, the quick ones first.
set -euo pipefail
ruff check .
ruff format --check .
mypy
lint-imports
python -m localmodal.coverage --check
python -m service.rules_page --check
python -m pytest
