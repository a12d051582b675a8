#!/usr/bin/env bash
# Finds or builds poolpick for the GitHub Action; tells the next step where it is.
set -euo pipefail
if [ -n "${INPUT_BINARY:-}" ]; then
    binary=$INPUT_BINARY
elif binary=$(command -v poolpick); then
    :
elif command -v cargo >/dev/null; then
    cargo build --release --locked --manifest-path "$GITHUB_ACTION_PATH/Cargo.toml" --target-dir "${RUNNER_TEMP:-/tmp}/poolpick"
    binary=${RUNNER_TEMP:-/tmp}/poolpick/release/poolpick
else
    echo "::error title=poolpick::there is no poolpick and no cargo to build it; hint: install one, or set the input binary"
    exit 1
fi
# A relative path is one of the workspace: the next step may run elsewhere.
case $binary in
    */*) binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary") ;;
    *) binary=$(command -v "$binary") ;;
esac
"$binary" --version
echo "binary=$binary" >>"$GITHUB_OUTPUT"
