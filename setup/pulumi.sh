#!/usr/bin/env bash
# The Pulumi CLI: one that is on the PATH, else built from its Go modules.
# 3.259.0 is the newest engine, and 3.79.0 of the sdk module the last with the Python language host, that module proxies serve.
set -euo pipefail
. setup/say.sh
if pulumi version >/dev/null 2>&1; then
  done_already "pulumi $(pulumi version) ($(command -v pulumi))"
  exit
fi
command -v go >/dev/null || { say "Neither pulumi nor go is on the PATH. Install either: https://www.pulumi.com/docs/install or your system's golang package"; exit 1; }
say "Pulumi CLI: building it from its Go modules (about 4 minutes, once)"
target=$COLDSNAP_HOME/tools/pulumi
build=$COLDSNAP_HOME/cache/pulumi-build
mkdir -p "$build/bin"
export CGO_ENABLED=0 GOBIN=$build/bin GOFLAGS=-modcacherw GOMODCACHE=$build/mod GOCACHE=$build/objects GOTOOLCHAIN=local
install_tool() { (cd "setup/pulumi/$1" && go install -trimpath -tags osusergo,grpcnotrace -ldflags "$3" "$2"); }
version=v3.259.0
quietly install_tool engine github.com/pulumi/pulumi/pkg/v3/cmd/pulumi "-w -s -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=$version"
quietly install_tool language github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python "-w -s"
sdk=$(cd setup/pulumi/engine && go list -m -f '{{.Dir}}' github.com/pulumi/pulumi/sdk/v3)
install -m 755 "$sdk/python/cmd/pulumi-language-python-exec" "$sdk/python/dist/pulumi-resource-pulumi-python" "$build/bin"
rm -rf "$target"
mv "$build/bin" "$target"
rm -rf "$build"
