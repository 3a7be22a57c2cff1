#!/usr/bin/env bash
# Takes the local stack down and removes all that `make` made: containers, mounts, the daemon, state, tools, the virtual environment.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/say.sh
. setup/activate
if [ -x .venv/bin/python ]; then
  say "Stopping what runs and removing the local control plane"
  if pulumi stack select local >/dev/null 2>&1; then
    pulumi destroy --yes --stack local --skip-preview || say "The stack could not be destroyed; its containers and files are removed all the same"
    pulumi stack rm --yes --force --preserve-config local
  fi
  .venv/bin/python -m localmodal destroy
fi
say "Removing $COLDSNAP_HOME and .venv"
rm -rf "$COLDSNAP_HOME" .venv build *.egg-info
find . -name __pycache__ -type d -prune -exec rm -rf {} +
