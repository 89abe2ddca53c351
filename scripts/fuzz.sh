#!/usr/bin/env bash
# Fuzzes every parser of network bytes for so many seconds each. Needs a nightly toolchain; installs cargo-fuzz once.
set -euo pipefail
seconds="${1:-60}"
version=0.13.2
tools="$(cd "$(dirname "$0")/.." && pwd)/.cache/tools"
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "a nightly toolchain is missing: rustup toolchain install nightly" >&2
    exit 1
fi
if ! "$tools/bin/cargo-fuzz" --version 2>/dev/null | grep -q "$version"; then
    echo "installing cargo-fuzz $version (once)"
    CARGO_TARGET_DIR="$tools/target" cargo install --quiet --locked --root "$tools" --version "$version" cargo-fuzz
fi
cd "$(dirname "$0")/.."
for target in json sse target multipart framing image audio request usage alerts secrets archive extract; do
    echo "== $target, $seconds s"
    PATH="$tools/bin:$PATH" cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -timeout=5 -print_final_stats=1 -verbosity=0
done
