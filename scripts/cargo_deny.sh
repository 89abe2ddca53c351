#!/usr/bin/env bash
# Runs cargo-deny, at the version that the configuration was written for; installs it into the test cache once.
set -euo pipefail
version=0.20.2
tools="${SALLYPORT_TEST_CACHE:-.cache}/tools"
binary="$tools/bin/cargo-deny"
if ! "$binary" --version 2>/dev/null | grep -q "$version"; then
    echo "installing cargo-deny $version (once)"
    CARGO_TARGET_DIR="$tools/target" cargo install --quiet --locked --root "$tools" --version "$version" --no-default-features cargo-deny
fi
exec "$binary" "$@"
