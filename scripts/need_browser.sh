#!/usr/bin/env bash
# Finds Chromium for the test in a real page, and prints its path. Where it is missing and this is root on a Debian, it is
# installed: make test installs what the tests need. Otherwise a missing one is an error that names the line to install it.
set -u
find_it() {
    for program in "${SALLYPORT_TEST_CHROMIUM:-chromium}" chromium-browser google-chrome; do
        command -v "$program" && return 0
    done
    return 1
}
find_it && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing Chromium for the browser test (once)" >&2
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium; } >&2
    find_it && exit 0
fi
echo "chromium is missing: apt-get install chromium (or name a browser with SALLYPORT_TEST_CHROMIUM)" >&2
exit 1
