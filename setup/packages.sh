#!/usr/bin/env bash
# Debian packages of the machine itself: what runs containers, makes a virtual environment and mounts a disk.
set -euo pipefail
. setup/say.sh
wanted=()
need() { command -v "$1" >/dev/null || wanted+=("$2"); }
need runc runc
need mkfs.ext4 e2fsprogs
need ip iproute2
need cmake cmake
need g++ g++
python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
ldconfig -p | grep -q libgomp.so.1 || wanted+=(libgomp1)
if [ ${#wanted[@]} = 0 ]; then
  done_already "Debian packages"
elif [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  say "Missing and not installable from here: ${wanted[*]}. Going on without; 'coldsnap doctor' says what that costs."
else
  say "Debian packages: ${wanted[*]} (about 20 s)"
  quietly apt-get update
  DEBIAN_FRONTEND=noninteractive quietly apt-get -y install --no-install-recommends "${wanted[@]}"
fi
