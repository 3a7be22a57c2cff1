#!/usr/bin/env bash
# Sets up everything, each step skipped when it is done: Debian packages, virtual environment, Pulumi, CRIU.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/activate
mkdir -p "$COLDSNAP_HOME"/{tools,cache,pulumi}
setup/packages.sh
setup/venv.sh
setup/pulumi.sh
setup/criu.sh
