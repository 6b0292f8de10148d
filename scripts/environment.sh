#!/bin/sh
# environment.sh FOLDER: create a virtual environment with $PYTHON, unless FOLDER has one that works, and mark it as
# incomplete with the file "installing". Whoever installs into it removes the mark at the end; an environment that is
# still marked, because the installation failed or was killed, is created anew.
set -eu
folder=$1

refuse() {
    echo "error: PYTHON=$PYTHON: $1" >&2
    exit 2
}

if [ -e "$folder/installing" ] || ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    command -v "$PYTHON" >/dev/null || refuse "there is no such program; name a Python, as in make PYTHON=python3.12"
    version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        refuse "must be Python 3.11 or newer, not $version; name another, as in make PYTHON=python3.12"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        refuse "lacks the modules venv and ensurepip; on Debian and Ubuntu: apt install python$version-venv"
    echo "creating $folder with Python $version"
    "$PYTHON" -m venv --clear "$folder"
fi
touch "$folder/installing"
