#!/usr/bin/env bash
# Makes .venv with everything the project needs; on Debian and Ubuntu the system libraries too.
#
#   bash scripts/setup.sh [EXTRAS]      EXTRAS as in pyproject.toml, e.g. all or testing,dev
#
# Environment: PYTHON      the interpreter to use (3.11 or newer)
#              CELLTRAIN_TORCH   what to give pip for torch; empty leaves torch to pip
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras="${1:-all}"
torch="${CELLTRAIN_TORCH-torch==2.13.0}"
venv=.venv

# Qt and OpenGL for napari, and a virtual display for its tests
libraries=(xvfb xauth libgl1 libegl1 libglib2.0-0 libdbus-1-3 libfontconfig1 libxkbcommon0
  libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@" 2>/dev/null || sudo "$@"; fi
}

can_be_root() { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }

is_installed() {
  # newer releases call some libraries by another name, such as libglib2.0-0t64
  local found
  for found in "$1" "$1t64"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$found" 2>/dev/null)" = installed ] && return 0
  done
  return 1
}

apt_is_fresh=no
install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  if [ "$apt_is_fresh" = no ]; then
    as_root apt-get update -q || echo "The list of packages could not be refreshed; going on." >&2
    apt_is_fresh=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      command -v "$candidate"
      return
    fi
  done
}

has_apt() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

if has_apt; then
  missing=()
  for library in "${libraries[@]}"; do
    is_installed "$library" || missing+=("$library")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    if can_be_root; then
      echo "Installing system libraries: ${missing[*]}"
      install_packages "${missing[@]}"
    else
      echo "These system libraries are missing, and only an administrator can install them:" >&2
      echo "  apt-get install ${missing[*]}" >&2
    fi
  fi
fi

python="$(find_python)"
if [ -z "$python" ] && has_apt && can_be_root; then
  install_packages python3 python3-venv
  python="$(find_python)"
fi
if [ -z "$python" ]; then
  echo "Python 3.11 or newer is needed. Install it, or name it: PYTHON=/path/to/python3.12" >&2
  exit 1
fi

# Only when the project's needs have changed since is there anything to install.
needs="$("$python" -V) $extras $torch $(cksum <pyproject.toml)"
if [ -x $venv/bin/python ] && grep -qFx "$needs" $venv/needs 2>/dev/null; then
  exit 0
fi

if [ ! -x $venv/bin/python ] || ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
  echo "Making the virtual environment $venv with $("$python" -V)"
  if ! "$python" -m venv --clear $venv 2>/dev/null; then
    # Debian and Ubuntu keep this part of Python in a package of its own
    version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    has_apt && can_be_root && { install_packages "python$version-venv" || install_packages python3-venv; }
    "$python" -m venv --clear $venv
  fi
fi

pip() { $venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }

echo "Installing Python packages (a few minutes, and 2 to 6 GB of disk)"
# torch first: else pip may choose a newer one with gigabytes of libraries for graphics cards
if [ -n "$torch" ]; then pip install -q "$torch"; fi
pip install -q -e ".[$extras]"
echo "$needs" >>$venv/needs
