#!/usr/bin/env bash
# Makes everything that `make demo` and `make test` need:
#   .tools  a private environment with uv, the installer
#   .venv   the project's environment, exactly what requirements.lock says, and the project itself (editable)
# Run again, it ends at once when nothing it depends on has changed.
#
# Settings (environment):
#   PYTHON=python3.12    the interpreter to use, instead of the first suitable one
#   SETUP_APT=no         never install system packages
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ROOT=$PWD
readonly LOCK=requirements.lock
readonly STAMP=.venv/.setup-stamp
readonly LOG=.cache/setup.log
readonly OLDEST_PYTHON=3.11

say() { printf 'set-up: %s\n' "$*"; }
die() { printf 'set-up: %s\n' "$*" >&2; exit 1; }

# Output goes to the log; only when the command fails is it shown.
quietly() {
  if ! "$@" >"$LOG" 2>&1; then
    cat "$LOG" >&2
    return 1
  fi
}

# --- what the machine has ---------------------------------------------------------------------------------------------

has() { command -v "$1" >/dev/null 2>&1; }
has_libvirt() { has pkg-config && pkg-config --exists libvirt; }
has_headers() { "$1" -c 'import os, sysconfig; raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; }
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
can_build_libvirt() { has_libvirt && { has gcc || has cc; } && has_headers "$1"; }
libvirt_state() { if can_build_libvirt "$1"; then echo with-libvirt; else echo without-libvirt; fi; }

new_enough() { "$1" -c "import sys; raise SystemExit(sys.version_info < (${OLDEST_PYTHON/./, }))" >/dev/null 2>&1; }

# The first interpreter that is new enough. Each candidate is run: a version manager may leave names that do not start.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3}; do
    if has "$candidate" && new_enough "$candidate"; then
      # Of an activated environment its base, which stays when that environment goes.
      "$candidate" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)'
      return
    fi
  done
  return 1
}

# --- system packages --------------------------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
  [ "${SETUP_APT:-yes}" != no ] && has apt-get || return 1
  [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }
}

# The system packages that are missing, one a line. Asked by what works, not by name, so that a tool that came
# from elsewhere is not installed again.
missing_packages() {
  local python
  if python=$(find_python); then
    # Only the system's own python takes its modules from system packages.
    if [[ $python == /usr/bin/* ]]; then
      local name=python3
      [ "$(readlink -f "$python")" = "$(readlink -f /usr/bin/python3)" ] || name=$(basename "$python")
      has_venv "$python" || echo "$name-venv"
      has_headers "$python" || echo "$name-dev"
    fi
  else
    printf '%s\n' python3 python3-venv python3-dev
  fi
  has gcc || has cc || printf '%s\n' gcc libc6-dev
  has pkg-config || echo pkg-config
  has_libvirt || echo libvirt-dev
  has ssh || echo openssh-client
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -gt 0 ] || return 0
  may_install || return 0
  say "installing ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
  # A list that cannot be refreshed may still be good enough, and what is truly missing is said below.
  quietly as_root "${apt[@]}" update || say "apt-get update failed, going on with the old package lists"
  quietly as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" \
    || say "apt-get could not install them, going on without"
}

# --- the lock ---------------------------------------------------------------------------------------------------------

# A requirement in the lock is one line that starts with its name, and indented lines that belong to it.
lock_only() { awk -v name="$1" '/^[^ #]/ { keep = index($0, name "==") == 1 } keep' "$LOCK"; }
lock_without() {
  awk -v names=" $* " '/^[^ #]/ { split($0, part, "=="); keep = !index(names, " " part[1] " ") } keep' "$LOCK"
}

# --- environments -----------------------------------------------------------------------------------------------------

# Sets UV to the uv that the lock pins, in a private environment; to the user's own as second choice; to nothing
# where there is no uv for this machine (then pip does the work).
find_uv() {
  local python=$1 wanted
  wanted=$(lock_only uv | sed -n '1s/^uv==\([^ ;]*\).*/\1/p')
  UV=.tools/bin/uv
  [ "$("$UV" --version 2>/dev/null | cut -d' ' -f2)" != "$wanted" ] || return 0
  if has_venv "$python"; then
    say "installing uv"
    rm -rf .tools
    lock_only uv >.cache/uv.lock
    if quietly "$python" -m venv .tools \
      && quietly .tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .cache/uv.lock; then
      return 0
    fi
  fi
  UV=$(command -v uv || true)
}

# An environment that starts and is new enough is kept, and brought to what the lock says.
venv_works() { [ -x .venv/bin/python ] && new_enough .venv/bin/python; }

make_venv() {
  local python=$1
  if [ -n "$UV" ]; then
    venv_works || quietly "$UV" venv --quiet --clear --no-python-downloads --python "$python" .venv
  else
    has_venv "$python" || die "python's venv module is missing: install python3-venv, or uv, and run again"
    { venv_works && .venv/bin/python -m pip --version >/dev/null 2>&1; } || quietly "$python" -m venv --clear .venv
  fi
}

# Brings .venv to the lock without the packages named.
fill_venv() {
  lock_without "$@" >.cache/wanted.lock
  if [ -n "$UV" ]; then
    quietly "$UV" pip sync --quiet --python .venv/bin/python --require-hashes --build-constraints "$LOCK" .cache/wanted.lock
  else
    quietly .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .cache/wanted.lock
  fi
}

# Without build isolation: the lock holds the build backend too.
install_project() {
  local options=(--quiet --no-deps --no-build-isolation --editable .)
  if [ -n "$UV" ]; then
    quietly "$UV" pip install --python .venv/bin/python "${options[@]}"
  else
    quietly .venv/bin/python -m pip install --disable-pip-version-check "${options[@]}"
  fi
}

# What the environment was made from. The place counts too: scripts and the editable install name it.
fingerprint() {
  { echo "$ROOT ${PYTHON:-} $1"; cat pyproject.toml "$LOCK" .ci/setup.sh; } | sha256sum | cut -d' ' -f1
}

up_to_date() {
  [ -f "$STAMP" ] && [ -x .venv/bin/vgpu-console ] && .venv/bin/python -c '' 2>/dev/null || return 1
  [ "$(cat "$STAMP")" = "$(fingerprint "$(libvirt_state .venv/bin/python)")" ]
}

main() {
  ! up_to_date || return 0
  mkdir -p .cache
  # Two makes at once must not fill one environment together; the second finds the work done.
  if has flock; then
    exec 9>.cache/setup.lock
    flock 9
    ! up_to_date || return 0
  fi
  install_packages
  local python
  python=$(find_python) || die "no python >= $OLDEST_PYTHON found (tried ${PYTHON:-python3, python3.14 … python3.11}): install python3 and python3-venv, or set PYTHON"

  local libvirt
  libvirt=$(libvirt_state "$python")
  if [ "$libvirt" = without-libvirt ]; then
    say "going on without libvirt: it needs libvirt-dev, pkg-config, gcc and python3-dev, and root or sudo to install them"
  fi

  find_uv "$python"
  [ -n "$UV" ] || say "uv is not to be had here, pip does its work and takes longer"
  say "filling .venv ($("$python" -c 'import platform; print("python", platform.python_version())'))"
  rm -f "$STAMP"
  make_venv "$python" || die ".venv could not be made, see the lines above"
  if [ "$libvirt" = without-libvirt ] || ! fill_venv uv; then
    [ "$libvirt" = without-libvirt ] || say "trying without libvirt, which may be what failed above"
    fill_venv uv libvirt-python || die ".venv could not be filled, see the lines above"
  fi
  install_project || die "the project could not be installed into .venv, see the lines above"
  fingerprint "$libvirt" >"$STAMP"
  say "done"
}

main
