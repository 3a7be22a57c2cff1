#!/usr/bin/env bash
# llama.cpp's own server, built from the source that the package llama-cpp-python brings along, so both engines are of one version.
set -euo pipefail
. setup/say.sh
version=$(sed -n 's/^llama_cpp_python==//p' constraints.txt)
tool=$COLDSNAP_HOME/tools/llama-server/$version
# Where stacks and tests look for it: a stack file knows no $COLDSNAP_HOME.
link() { mkdir -p build && ln -sfn "$tool/llama-server" build/llama-server; }
if [ -x "$tool/llama-server" ]; then
  link
  done_already "llama-server of llama-cpp-python $version"
  exit
fi
say "llama-server: building it from the source in llama-cpp-python $version (about 6 minutes, once)"
build=$COLDSNAP_HOME/cache/llama-server-build
rm -rf "$build"
mkdir -p "$build/source"
quietly .venv/bin/pip download --disable-pip-version-check --no-deps --no-binary llama-cpp-python -d "$build" "llama-cpp-python==$version"
tar -xzf "$build"/*.tar.gz -C "$build/source" --strip-components=3 "llama_cpp_python-$version/vendor/llama.cpp"
# For any machine's processor; without what it would fetch (its pages) and what nobody asks it for (HTTPS towards models).
options=(-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
         -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF)
quietly cmake -S "$build/source" -B "$build/objects" "${options[@]}"
quietly cmake --build "$build/objects" --target llama-server --parallel "$(nproc)"
mkdir -p "$tool"
mv "$build/objects/bin/llama-server" "$tool"
rm -rf "$build"
link
