#!/usr/bin/env bash
# What only the tests need, and the stacks that they put up beside `local`; each step skipped when it is done.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/activate
setup/llama_server.sh
