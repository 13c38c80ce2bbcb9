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
test_packages=(
  libgtest-dev libgmock-dev
  clang-format-14  # this version by name: other versions format differently
  clang-tidy-14
)

# missing_packages NAME...: prints those that are not installed.
missing_packages() {
  local name
  for name in "$@"; do
    if [[ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" != installed ]]; then
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
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
