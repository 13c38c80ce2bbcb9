# The system packages that Tessera stands on, in one place, and how a script asks for them.
# Sourced by tools/quickstart and tools/test.

build_packages=(
  g++ cmake ninja-build
  libdnnl-dev         # oneDNN: matrix products
  libhdf5-dev         # token files and checkpoints
  libyaml-cpp-dev     # configuration files
  libcli11-dev        # command lines
  nlohmann-json3-dev  # metrics and tokenizers
  libfmt-dev          # messages
  libpcre2-dev        # tokenizers: splitting rules
  libutf8proc-dev     # tokenizers: Unicode normalization
  libsentencepiece-dev
)
test_packages=(libgtest-dev libgmock-dev)
# This version by name: others format differently. Distributions of 2025 and later have it no more;
# without it the two tests that need it are skipped.
lint_packages=(clang-format-14 clang-tidy-14)

# is_in_vain NAME: whether apt's lists, if there are any, have no package NAME.
is_in_vain() {
  compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null &&
    ! apt-cache policy "$1" | grep -q 'Candidate: [^(]'
}

# missing_packages NAME...: prints those that are not installed, less the lint packages that cannot
# be had.
missing_packages() {
  local name
  for name in "$@"; do
    if [[ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" == installed ]]; then
      continue
    fi
    if [[ " ${lint_packages[*]} " == *" $name "* ]] && is_in_vain "$name"; then
      echo "$name cannot be had here: the tests that need it are skipped" >&2
    else
      echo "$name"
    fi
  done
}

# ensure_packages YES NAME...: installs what is missing, after naming it. Asks on a terminal unless
# YES is 1; without a terminal it goes ahead as root only.
ensure_packages() {
  local yes="$1" answer
  shift
  if ! command -v dpkg-query >/dev/null; then
    echo "No dpkg here: install the equivalents of: $*" >&2
    return 0
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  echo "System packages that are missing: ${missing[*]}"
  local as_root=()
  if ((EUID != 0)); then as_root=(sudo); fi
  local command="${as_root[*]:+sudo }apt-get install -y --no-install-recommends ${missing[*]}"
  if [[ "$yes" != 1 ]]; then
    if [[ -t 0 ]]; then
      read -r -p "Install them with '$command'? [y/N] " answer
      [[ "$answer" == [yY]* ]] || { echo "Nothing installed. Run: $command" >&2; return 1; }
    elif ((EUID != 0)); then
      echo "Not a terminal and not root: run '$command', or pass --yes." >&2
      return 1
    fi
  fi
  "${as_root[@]}" apt-get update -qq
  mapfile -t missing < <(missing_packages "${missing[@]}")
  ((${#missing[@]})) || return 0
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
