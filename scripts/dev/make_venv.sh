#!/bin/sh
# Makes .venv from a lock, or does nothing when it is there already. Usage: make_venv.sh VENV LOCK [PYTHON]
# LOCK is requirements.lock (what users run) or requirements-dev.lock (the same and what only tests need); a venv with the
# larger one serves both. Without PYTHON a venv that works is kept, else the newest suitable Python on the path makes it.
set -eu

venv=$1
wanted_lock=$2
wanted=${3:-}
stamp=$venv/.installed
nl='
'

# Prints the version of a suitable Python; else prints why it is not one, and fails.
# pyenv's shims exist for versions that do not run, so only a run tells.
inspect() {
    command -v "$1" >/dev/null 2>&1 || { echo "$1: not found"; return 1; }
    "$1" - "$1" <<'PYTHON' 2>/dev/null || { echo "$1: does not run as a Python 3.11 to 3.14"; return 1; }
import sys
name, version = sys.argv[1], "%d.%d.%d" % sys.version_info[:3]
def refuse(why):
    print("%s: %s" % (name, why))
    sys.exit(0)
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    refuse("is Python " + version)
if sys.implementation.name != "cpython" or sys.maxsize < 2**32:
    refuse("is no 64-bit CPython, the only kind the locked packages have wheels for")
for module in ("venv", "ensurepip", "ssl"):
    try:
        __import__(module)
    except ImportError:
        refuse("is Python %s without its module %s; on Debian and Ubuntu: apt install python%d.%d-venv"
               % ((version, module) + sys.version_info[:2]))
print("ok " + version)
PYTHON
}

suitable() {
    answer=$(inspect "$1") || return 1
    case $answer in "ok "*) return 0 ;; *) return 1 ;; esac
}

# "CHECKSUM BYTES" of a file.
sum_of() { cksum <"$1" | tr -s ' ' ' '; }

works() { [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import pip' 2>/dev/null && suitable "$venv/bin/python"; }

version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])'; }

if [ -n "$wanted" ]; then
    if ! suitable "$wanted"; then
        echo "error: PYTHON=$wanted cannot be used. ${answer}" >&2
        echo "Give a CPython 3.11, 3.12, 3.13 or 3.14 with venv, e.g. make run PYTHON=/usr/bin/python3.12" >&2
        exit 1
    fi
    chosen=$wanted
elif works; then
    chosen=$venv/bin/python
else
    chosen=
    reasons=
    for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if suitable "$candidate"; then
            chosen=$candidate
            break
        fi
        case $answer in *": not found") ;; *) reasons="$reasons$nl  $answer" ;; esac
    done
    if [ -z "$chosen" ]; then
        echo "error: no suitable Python found (CPython 3.11 to 3.14 with venv is needed).${reasons}" >&2
        echo "Install one: apt install python3 python3-venv (Debian 12, Ubuntu 24.04 and newer)," >&2
        echo "brew install python@3.13 (macOS), or python.org; then name it if it is not on the path: make run PYTHON=/path/to/python3.13" >&2
        exit 1
    fi
fi

python=$(version_of "$chosen")
# The folder is part of the stamp because the scripts inside a venv name it: a moved venv is a broken one.
place=$(cd "$(dirname "$venv")" && pwd)
base="$python|$(sum_of requirements.lock)|$place"
project=$(sum_of pyproject.toml)
dev=$(sum_of requirements-dev.lock)

# The stamp's lines: what was installed from requirements.lock, from requirements-dev.lock ("none" before any test), and the project.
had_base=
had_dev=none
had_project=
if [ -f "$stamp" ]; then
    { read -r had_base && read -r had_dev && read -r had_project; } <"$stamp" || had_base=
fi
[ "$wanted_lock" = requirements-dev.lock ] || dev=$had_dev

if [ "$had_base|$had_dev|$had_project" = "$base|$dev|$project" ] && works; then
    exit 0
fi

# Without a stamp an install was cut short: pip goes on where it stopped. Another Python, lock or place starts afresh, so that nothing the lock
# no longer names stays behind. The dev lock can be installed on top of the other: it names the same versions and more.
fresh=yes
if works && [ "$(version_of "$venv/bin/python")" = "$python" ]; then
    if [ ! -f "$stamp" ]; then
        fresh=no
    elif [ "$had_base" = "$base" ] && { [ "$had_dev" = none ] || [ "$had_dev" = "$dev" ]; }; then
        fresh=no
    fi
fi
if [ "$fresh" = yes ]; then
    # The chosen Python may be the venv's own, which is about to go.
    if [ "$chosen" = "$venv/bin/python" ]; then
        chosen=$("$chosen" -c 'import os, sys; print(os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2]))')
        [ -x "$chosen" ] || chosen=$(dirname "$chosen")/python3
    fi
    echo "Making $venv with Python $python"
    rm -rf "$venv"
    "$chosen" -m venv "$venv"
    [ "$wanted_lock" = requirements-dev.lock ] || dev=none
fi
rm -f "$stamp"
echo "Installing $wanted_lock into $venv (two minutes or so, the first time only)"
# Twice quiet: errors only.
pip() { "$venv/bin/python" -m pip -qq --no-input --disable-pip-version-check "$@"; }
pip install --progress-bar off --no-deps --require-hashes -r "$wanted_lock"
# The project itself becomes a link to this folder; nothing is fetched for it.
pip install --progress-bar off --no-deps --no-build-isolation -e .
printf '%s\n' "$base" "$dev" "$project" >"$stamp"
