#!/usr/bin/env bash
# scripts_test.sh ROOT: format.sh and tidy.sh must pass on a good tree and fail on a bad one. Leaves
# with 77 where one of them does.
set -euo pipefail
root="$1"
here="$(dirname "$0")"
tree="$(mktemp -d)"
trap 'rm -rf "$tree"' EXIT
cp "$root/.clang-format" "$root/.clang-tidy" "$tree"
mkdir "$tree/core"

# expect STATUS COMMAND...: runs COMMAND and compares whether it passes.
expect() {
  local wanted="$1" got=pass status=0
  shift
  "$@" >"$tree/output" 2>&1 || status=$?
  if ((status == 77)); then
    cat "$tree/output"
    exit 77
  fi
  if ((status)); then got=fail; fi
  if [[ "$got" != "$wanted" ]]; then
    echo "'$*' was to $wanted but did not:" >&2
    cat "$tree/output" >&2
    exit 1
  fi
}

# plant FILE TEXT: a tree with that one source and the way to compile it.
plant() {
  rm -f "$tree"/core/*
  printf '%s\n' "$2" > "$tree/core/$1"
  cat > "$tree/compile_commands.json" <<END
[
{
  "directory": "$tree",
  "command": "/usr/bin/c++ -c core/$1",
  "file": "$tree/core/$1"
}
]
END
}

plant good.cpp $'int* f() {\n  return nullptr;\n}'
expect pass "$here/format.sh" "$tree"
expect pass "$here/tidy.sh" "$tree" "$tree"

plant bad.cpp $'int* f() {\n  return 0;\n}'
expect pass "$here/format.sh" "$tree"
expect fail "$here/tidy.sh" "$tree" "$tree"

for name in bad.cpp bad.h bad.cu; do
  plant "$name" 'int *f( ) {return nullptr;}'
  expect fail "$here/format.sh" "$tree"
done

rm "$tree/compile_commands.json"
expect fail "$here/tidy.sh" "$tree" "$tree"
