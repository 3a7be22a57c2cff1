#!/usr/bin/env bash
# CRIU, which takes the memory snapshots: one on the PATH that is new enough, else Debian's newest, unpacked beside the system.
# Debian 12 and 13 have none that is new enough. Nothing is installed or upgraded: it brings the libraries and the loader it needs.
set -euo pipefail
. setup/say.sh
oldest=4.2  # the same as OLDEST_CRIU in localmodal/worker/capabilities.py
for criu in $(type -ap criu) "$COLDSNAP_HOME/tools/criu/criu"; do
  version=$("$criu" --version 2>/dev/null | sed -n 's/^Version: //p') || continue
  if [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1)" = "$oldest" ]; then
    done_already "criu $version ($criu)"
    exit
  fi
done
without() { say "$*. Going on without snapshots: install CRIU $oldest or newer by hand; 'coldsnap doctor' says what that costs."; exit 0; }
# Debian's archive as this machine is told to reach it.
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1) || true
[ -n "$archive" ] && grep -qx ID=debian /etc/os-release || without "CRIU $oldest is not on the PATH, and this is not Debian with an archive in apt's sources"
say "CRIU: unpacking it and its libraries from Debian's newest packages (about 20 s, once)"
build=$COLDSNAP_HOME/cache/criu-build
rm -rf "$build"
mkdir -p "$build"/{lists/partial,cache/archives/partial,root}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive sid main" > "$build/sources.list"
touch "$build/status"  # nothing counts as installed: apt then names every library
options=(-o Dir::Etc::SourceList="$build/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$build/lists"
         -o Dir::State::Status="$build/status" -o Dir::Cache="$build/cache" -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1)
quietly apt-get "${options[@]}" update || without "Debian's list of packages cannot be fetched"
quietly apt-get "${options[@]}" -y --no-install-recommends --download-only install criu || without "Debian's packages of CRIU cannot be fetched"
for package in "$build"/cache/archives/*.deb; do dpkg -x "$package" "$build/root"; done
cat > "$build/root/criu" <<'EOF'
#!/bin/sh
here=${0%/*}
for lib in "$here"/usr/lib/*-linux-gnu; do exec "$lib"/ld-linux-*.so.* --library-path "$lib" "$here/usr/sbin/criu" "$@"; done
EOF
chmod +x "$build/root/criu"
quietly "$build/root/criu" --version || without "The unpacked CRIU does not run"
rm -rf "$COLDSNAP_HOME/tools/criu"
mkdir -p "$COLDSNAP_HOME/tools"
mv "$build/root" "$COLDSNAP_HOME/tools/criu"
rm -rf "$build"
