#!/usr/bin/env bash
# The project's virtual environment in .venv, from pinned versions.
set -euo pipefail
. setup/say.sh
# Not the python3 of the very environment that may have to be made anew.
python=$(PATH=${PATH#"$PWD/.venv/bin:"} command -v python3)
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { say "Python 3.11 or newer is needed, $("$python" -V) is what python3 is"; exit 1; }
recipe=$(cat constraints.txt pyproject.toml "$0" | sha256sum; "$python" -V; pwd)
if [ "$(cat .venv/recipe 2>/dev/null)" = "$recipe" ]; then
  done_already "virtual environment"
  exit
fi
say "Virtual environment: installs the pinned packages and builds llama-cpp-python (about 6 minutes, once)"
rm -rf .venv
"$python" -m venv .venv
quietly .venv/bin/pip install --disable-pip-version-check -c constraints.txt -e '.[engines,test]'
printf '%s\n' "$recipe" > .venv/recipe
