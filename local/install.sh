#!/bin/sh
# The virtual environment .venv: `environment PYTHON` makes it, `LOCK` puts in what the lock names.
# `tools` is what the tests need of Debian.
set -eu

make_environment() {
    if [ -z "$1" ]; then
        echo "Sokoni needs Python 3.11 or newer, and no python3 here is." >&2
        exit 1
    fi
    .venv/bin/python -c "import pip" 2>/dev/null && return
    echo "Making .venv ..."
    rm -rf .venv
    if ! "$1" -m venv .venv >/dev/null 2>&1; then
        # Debian keeps ensurepip in a package of its own.
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            { apt-get -o Acquire::Retries=3 update -q && DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -qy python3-venv; } \
                >/tmp/sokoni-apt.$$ 2>&1 || { cat /tmp/sokoni-apt.$$ >&2; exit 1; }
            rm -f /tmp/sokoni-apt.$$
        else
            echo "Python's venv is missing here. This installs it:" >&2
            echo "    sudo apt-get install -y python3-venv" >&2
            rm -rf .venv
            exit 1
        fi
        rm -rf .venv
        "$1" -m venv .venv
    fi
    # uv is in no lock, and its sync removes what no lock names: it is kept aside. Without it pip
    # installs the locks, only slower.
    if .venv/bin/python -m pip install -qq --disable-pip-version-check uv; then
        mv .venv/bin/uv .venv/uv
    else
        echo "uv cannot be had; pip will do." >&2
    fi
}

install() {
    echo "Installing $1 ..."
    if [ -x .venv/uv ]; then
        VIRTUAL_ENV="$PWD/.venv" .venv/uv pip sync -q --require-hashes --compile-bytecode "$1"
    else
        .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "$1"
    fi
}

# The tests look at pages in Chromium, and drive the server with wrk.
tools() {
    [ -x /usr/bin/chromium ] && command -v wrk >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing Chromium and wrk ..."
        { apt-get -o Acquire::Retries=3 update -q && DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -qy \
            --no-install-recommends chromium fonts-dejavu-core fonts-liberation wrk; } \
            >/tmp/sokoni-apt.$$ 2>&1 || { cat /tmp/sokoni-apt.$$ >&2; exit 1; }
        rm -f /tmp/sokoni-apt.$$
    else
        echo "Chromium or wrk is missing here. This installs them:" >&2
        echo "    sudo apt-get install -y chromium fonts-dejavu-core wrk" >&2
        exit 1
    fi
}

case $1 in
environment) make_environment "${2:-}" ;;
tools) tools ;;
*) install "$1" ;;
esac
