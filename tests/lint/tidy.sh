#!/usr/bin/env bash
# tidy.sh BUILD ROOT: runs clang-tidy with ROOT/.clang-tidy over the sources of libraries and
# programs below ROOT that BUILD/compile_commands.json names, each once: files compiled per
# instruction-set level are looked at with the flags of the first level. Left out are tests, which
# would double the time, and the kernels of .cu files, which this version of clang cannot read.
# Leaves with 77 without clang-tidy-14, or where it cannot read the C++ library, as of GCC 13.
set -euo pipefail
command -v clang-tidy-14 >/dev/null || { echo "clang-tidy-14 is not installed"; exit 77; }
build="$1"
root="$(realpath "$2")"
commands="$build/compile_commands.json"
[[ -f "$commands" ]] || { echo "$commands is missing: configure with CMake first" >&2; exit 1; }

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
echo '#include <chrono>' > "$work/probe.cpp"
probe=(clang-tidy-14 --checks='-*,misc-definitions-in-headers' "$work/probe.cpp" -- -std=c++20)
"${probe[@]}" &>/dev/null || { echo "clang-tidy-14 cannot read this C++ library"; exit 77; }
# One entry a file: CMake writes an entry as four lines between braces.
awk -v root="$root/" -v work="$work" '
  /^\{/ { entry = "" }
  { entry = entry $0 "\n" }
  /^ *"file":/ { split($0, part, "\""); file = part[4] }
  /^\},?$/ {
    if (index(file, root) == 1 && index(file, root "tests/") != 1 && file !~ /\.cu(\.cpp)?$/ &&
        !(file in seen)) {
      seen[file] = 1
      sub(/,?\n$/, "", entry)
      printf "%s%s", (n++ ? ",\n" : "[\n"), entry
      print file > (work "/files")
    }
  }
  END { print "\n]" }
' "$commands" > "$work/compile_commands.json"
[[ -s "$work/files" ]] || { echo "$commands names no source below $root" >&2; exit 1; }

# GCC knows names of processor features that this version of clang does not.
xargs -a "$work/files" -d '\n' -n 1 -P "$(nproc)" clang-tidy-14 -p "$work" --quiet \
  --extra-arg='-D__builtin_cpu_supports(feature)=1' --extra-arg=-Wno-unknown-warning-option \
  2> >(grep -v 'warnings\? generated' >&2 || true)
