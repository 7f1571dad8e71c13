# Sourced by the scripts of this repository: finds what a build needs, and installs what is missing on Debian.

# need_packages PACKAGE... : nothing happens, and no network is touched, when all are there.
need_packages() {
  missing=
  if command -v dpkg-query > /dev/null 2>&1; then
    for package in "$@"; do
      dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
  else
    for tool in c++ cmake ninja pkg-config; do
      command -v "$tool" > /dev/null 2>&1 || missing="$missing $tool"
    done
    [ -z "$missing" ] || echo "missing:$missing (on Debian these come with: $*)" >&2
    [ -z "$missing" ]
    return
  fi
  [ -n "$missing" ] || return 0
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null 2>&1 || { echo "install these first:$missing" >&2; return 1; }
    as_root=sudo
  fi
  echo "installing:$missing"
  # The names are words to be split.
  # shellcheck disable=SC2086
  $as_root apt-get update -qq < /dev/null &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing < /dev/null
}

# The options that every script gives to cmake: the compiler's results are kept where ccache is installed; elsewhere
# headers are precompiled, which ccache would not understand.
cache_options() {
  if command -v ccache > /dev/null 2>&1; then
    echo "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DSAT_PRECOMPILE=OFF"
  else
    echo "-DSAT_PRECOMPILE=ON"
  fi
}

# Compilations at once: one a processor, and no more than memory allows (about 1 GB each).
build_jobs() {
  jobs=$(nproc 2> /dev/null || echo 1)
  fit=$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo 2> /dev/null || echo "$jobs")
  [ "${fit:-1}" -ge 1 ] || fit=1
  [ "$jobs" -le "$fit" ] || jobs=$fit
  echo "$jobs"
}
