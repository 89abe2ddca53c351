#!/usr/bin/env bash
# Checks that programs are there; a missing one is an error that names the line to install it.
set -u
missing=0
for program in "$@"; do
    command -v "$program" >/dev/null && continue
    case "$program" in
        cargo) how="install Rust from https://rustup.rs" ;;
        gcc) how="apt-get install build-essential" ;;
        python3) how="apt-get install python3 python3-pip python3-venv" ;;
        node | npm) how="apt-get install nodejs npm" ;;
        nginx) how="apt-get install nginx-light" ;;
        *) how="apt-get install $program" ;;
    esac
    echo "$program is missing: $how" >&2
    missing=1
done
exit "$missing"
