# Sourced by `run` and `test`: makes the environment and installs system libraries, once.
# Says what it does; the second time it only compares a stamp (no network).

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
VENV=$ROOT/.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=${PYTHONDONTWRITEBYTECODE:-}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
fail() { printf 'packaging: %s\n' "$*" >&2; exit 2; }

BASE_PACKAGES="libglib2.0-0 libgl1 libegl1 libxkbcommon0 libfreetype6 libfontconfig1 libdbus-1-3 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0"
TEST_PACKAGES="xvfb xauth qemu-user"

# system_packages NAME...: installs what is missing as root with apt, else prints the line to type.
system_packages() {
  command -v dpkg-query >/dev/null || { say "not a Debian system: these libraries are needed: $*"; return 0; }
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null | grep -q '^installed$' ||
      dpkg-query -W -f='${db:Status-Status}' "${name}t64" 2>/dev/null | grep -q '^installed$' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    say "system libraries are missing; type: sudo apt-get install -y ${missing[*]}"
    return 0
  fi
  say "installing system libraries: ${missing[*]}"
  apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install ${missing[*]}; type: apt-get update && apt-get install -y ${missing[*]}"
}

# find_python: the first Python from 3.11 on.
find_python() {
  local name
  for name in python3.11 python3.12 python3.13 python3; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"; return 0
    fi
  done
  return 1
}

# environment EXTRAS: makes .venv with the project and its extras unless the stamp says it is there.
environment() {
  local extras=$1 python stamp
  stamp=$(sha256sum pyproject.toml packaging/setup.sh | sha256sum | cut -d' ' -f1)
  if grep -qs "^$stamp .*\[$extras\]" "$VENV/studio-stamp"; then return 0; fi
  python=$(find_python) || { system_packages python3; python=$(find_python) || fail "Python 3.11 or newer is needed; type: apt-get install -y python3"; }
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then system_packages python3-venv; fi
  say "making the environment in .venv with $($python --version) (about a minute, once)"
  [ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV" || fail "the environment could not be made; type: apt-get install -y python3-venv"
  # The CPU build of torch: from where pip is set up to look, else from its makers.
  "$VENV/bin/python" -c 'import torch; assert torch.__version__.startswith("2.13.")' 2>/dev/null ||
    "$VENV/bin/pip" install -q "torch==2.13.0+cpu" 2>/dev/null ||
    "$VENV/bin/pip" install -q "torch==2.13.*" --index-url https://download.pytorch.org/whl/cpu ||
    fail "the CPU build of torch 2.13 could not be installed; see the lines above"
  "$VENV/bin/pip" install -q -e "$ROOT${extras:+[$extras]}" || fail "pip could not install the project; see the lines above"
  echo "$stamp $(date -u +%F) [$extras]" >>"$VENV/studio-stamp"
}
