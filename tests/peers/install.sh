#!/bin/sh
# What `make peers` measures sendbench against: Debian packages into the system, PyPI and npm into .peers.
# What cannot be installed is named in one line; its row then says "not installed", the others run.
# usage: install.sh PYTHON   (from the project's folder)
set -u
export DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin
python=$1

say() { echo "make peers: $*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

packages=
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}
need smtp-source postfix
need nginx nginx-light
need wrk wrk
need hey hey
need h2load nghttp2-client
need npm npm
if [ -n "$packages" ]; then
    say "installing$packages"
    # One at a time: a package that a release lacks must not cost the others.
    for package in $packages; do
        as_root apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 \
            || say "could not install the Debian package $package"
    done
fi

mkdir -p .peers
if ! cmp -s requirements/peers.txt .peers/venv/.installed; then
    say "installing Locust into .peers/venv"
    if "$python" -m venv --clear .peers/venv \
        && .peers/venv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/peers.txt
    then cp requirements/peers.txt .peers/venv/.installed
    else say "could not install Locust"
    fi
fi
if ! cmp -s tests/peers/npm/package-lock.json .peers/npm/.installed; then
    say "installing autocannon and nodemailer into .peers/npm"
    mkdir -p .peers/npm
    if cp tests/peers/npm/*.json .peers/npm && npm ci --prefix .peers/npm --silent --ignore-scripts
    then cp tests/peers/npm/package-lock.json .peers/npm/.installed
    else say "could not install autocannon and nodemailer"
    fi
fi
exit 0
