#!/usr/bin/env bash
# The project's virtual environment in .venv, from pinned versions.
set -euo pipefail
. setup/say.sh
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { say "Python 3.11 or newer is needed, python3 is $(python3 -V)"; exit 1; }
# The machine's own Python, also where python3 is that of the very environment that may have to be made anew.
python=$(python3 -c 'import sys; print(sys.base_prefix)')/bin/python3
packages=$(sed '/^\[tool/,$d' pyproject.toml)
recipe=$(printf '%s' "$packages" | cat - constraints.txt | sha256sum; "$python" -V; pwd)
if [ "$(cat .venv/recipe 2>/dev/null)" = "$recipe" ]; then
  done_already "virtual environment"
  exit
fi
say "Virtual environment: installs the pinned packages and builds llama-cpp-python (about 6 minutes, once)"
rm -rf .venv
"$python" -m venv .venv
quietly .venv/bin/pip install --disable-pip-version-check -c constraints.txt -e '.[engines,test]'
printf '%s\n' "$recipe" > .venv/recipe
