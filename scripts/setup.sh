#!/usr/bin/env bash
# Makes .venv with everything that one machine without a GPU needs. Safe to run again: does nothing when up to date.
#   scripts/setup.sh           all of it
#   scripts/setup.sh apt NAME  installs Debian packages when root, else says what to install
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "setup: $*" >&2; }

apt_install() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing ${missing[*]}"
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
            apt-get -qq update >/dev/null
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
        }
    else
        say "missing: ${missing[*]}. Install them, for example: sudo apt-get install ${missing[*]}"
        return 1
    fi
}

if [ "${1:-}" = apt ]; then shift; apt_install "$@"; exit; fi

python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || {
    say "Python 3.11 to 3.13 is needed; $python is $("$python" --version 2>&1). Set PYTHON to one that fits."
    exit 1
}

needed=(bwrap git setpriv prlimit unshare tar zstd)
missing=()
for tool in "${needed[@]}"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if [ ${#missing[@]} -eq 0 ]; then :; elif command -v dpkg-query >/dev/null; then
    apt_install bubblewrap git util-linux tar zstd
else
    say "missing commands: ${missing[*]}. Install them with this system's package manager."
    exit 1
fi

stamp=.venv/.repoexpert-setup
want=$(cat pyproject.toml constraints.txt scripts/setup.sh | sha256sum | cut -d' ' -f1)
if [ -x .venv/bin/repoexpert ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then exit 0; fi

# uv is the installer; where it is missing it gets a small virtual environment of its own, outside the checkout.
if ! command -v uv >/dev/null; then
    tools=${XDG_CACHE_HOME:-$HOME/.cache}/repoexpert/tools
    [ -x "$tools/bin/uv" ] || { say "installing uv"; "$python" -m venv "$tools"; "$tools/bin/pip" install -q --disable-pip-version-check uv; }
    PATH=$tools/bin:$PATH
fi

# Machines behind a private certificate authority name its bundle in one of these.
export SSL_CERT_FILE=${SSL_CERT_FILE:-${REQUESTS_CA_BUNDLE:-${PIP_CERT:-}}}
[ -n "$SSL_CERT_FILE" ] || unset SSL_CERT_FILE
say "making .venv (about 7 GB, linked from uv's cache: half a minute warm, a few minutes cold)"
[ -x .venv/bin/python ] || uv venv -q --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
uv pip install -q --python .venv/bin/python -c constraints.txt -e '.[local,dev]'
printf '%s' "$want" > "$stamp"
say "ready: .venv/bin/repoexpert"
