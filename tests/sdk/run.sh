#!/usr/bin/env bash
# Installs the pinned SDKs into the test cache once, then runs both suites through a gate of their own.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
cache="${SALLYPORT_TEST_CACHE:-$root/.cache}"
binaries="${CARGO_TARGET_DIR:-$root/target}/debug"
SALLYPORT_TEST_CHROMIUM="$("$root/scripts/need_browser.sh")"
export SALLYPORT_TEST_CHROMIUM
mkdir -p "$cache"

stamp() { cksum "$1" | cut -d' ' -f1; }

if [ "$(cat "$cache/venv/.stamp" 2>/dev/null)" != "$(stamp "$here/python/requirements.txt")" ]; then
    echo "installing the Python SDK (once)"
    python3 -m venv --clear "$cache/venv" || { echo "python3 cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt"
    stamp "$here/python/requirements.txt" > "$cache/venv/.stamp"
fi
if [ "$(cat "$cache/node/.stamp" 2>/dev/null)" != "$(stamp "$here/node/package-lock.json")" ]; then
    echo "installing the Node SDK (once)"
    rm -rf "$cache/node" && mkdir -p "$cache/node"
    cp "$here/node/package.json" "$here/node/package-lock.json" "$cache/node/"
    (cd "$cache/node" && npm ci --silent --no-audit --no-fund)
    stamp "$here/node/package-lock.json" > "$cache/node/.stamp"
fi
cp "$here"/node/*.test.js "$cache/node/"

work="$(mktemp -d)"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

field() { "$cache/venv/bin/python" -c "import json,sys; print(json.load(open('$1'))['$2'])"; }

# Starts a gate and exports where it is: start_gate NAME [ENVIRONMENT…]
start_gate() {
    local name="$1"; shift
    env "$@" "$binaries/sallyport" serve --listen 127.0.0.1:0 --data "$work/$name" --bootstrap-json "$work/$name.json" \
        --config "$work/$name.toml" > "$work/$name.log" 2> "$work/$name.err" &
    for _ in $(seq 300); do grep -q "Sallyport is open" "$work/$name.err" && break; sleep 0.1; done
    SALLYPORT_TEST_BASE_URL="$(field "$work/$name.json" url)/v1"
    SALLYPORT_TEST_KEY="$(field "$work/$name.json" project_key)"
    SALLYPORT_TEST_ADMIN_KEY="$(field "$work/$name.json" admin_key)"
    export SALLYPORT_TEST_BASE_URL SALLYPORT_TEST_KEY SALLYPORT_TEST_ADMIN_KEY
}

"$binaries/scriptable-upstream" --listen 127.0.0.1:0 --key sk-sdk-tests > "$work/upstream.url" &
for _ in $(seq 100); do [ -s "$work/upstream.url" ] && break; sleep 0.1; done
upstream="$(cat "$work/upstream.url")"
export SALLYPORT_TEST_UPSTREAM="${upstream%/v1}"

echo "official SDKs, through the gate, to the scriptable upstream"
touch "$work/front.toml"
start_gate front SALLYPORT_UPSTREAM_URL="$upstream" SALLYPORT_UPSTREAM_KEY=sk-sdk-tests
export PYTHONDONTWRITEBYTECODE=1
# Node first: Python's administration test makes a second project, and projects that share an upstream see no lists.
(cd "$cache/node" && node --test upstream.test.js browser.test.js)
"$cache/venv/bin/python" -m pytest -q -p no:cacheprovider "$here/python/test_upstream.py"

echo "official SDKs, through the gate, to the embedded model"
printf '[local_model]\npath = "%s"\n' "$cache/models/SmolLM2-135M-Instruct.Q4_1.gguf" > "$work/local.toml"
start_gate local
"$cache/venv/bin/python" -m pytest -q -p no:cacheprovider "$here/python/test_local.py"
(cd "$cache/node" && node --test local.test.js)
