#!/usr/bin/env bash
# format.sh ROOT: fails if clang-format would change a source below ROOT, leaves with 77 without
# clang-format-14. Mend with --fix.
set -euo pipefail
root="$1"
fix="${2:-}"
mode=(--dry-run -Werror)
if [[ "$fix" == --fix ]]; then mode=(-i); fi
command -v clang-format-14 >/dev/null || { echo "clang-format-14 is not installed"; exit 77; }
cd "$root"
find . \( -name build -o -name runs -o -name '.?*' \) -prune -o \
  -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 -r -n 16 -P "$(nproc)" clang-format-14 --style=file "${mode[@]}"
