#!/usr/bin/env bash
# find_nvcc_test.sh CMAKE CUDA_CMAKE: configures with cmake/Cuda.cmake and stand-ins for nvcc that
# no CUDA code can be compiled with.
set -euo pipefail
cmake="$1" cuda="$2"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# nvcc_of FOLDER VERSION: an nvcc that tells its version and compiles nothing.
nvcc_of() {
  mkdir -p "$work/$1"
  cat > "$work/$1/nvcc" <<END
#!/usr/bin/env bash
[[ "\$1" == --version ]] && echo 'Cuda compilation tools, release $2, V$2.89' || exit 1
END
  chmod +x "$work/$1/nvcc"
}
nvcc_of old 11.8
nvcc_of broken 12.8
cat > "$work/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(find_nvcc LANGUAGES CXX)
include($cuda)
message(STATUS "found: \${TESSERA_HAS_CUDA}")
END

failures=0
# expect STATUS SAYS ARGUMENT...: SAYS must be in what people see.
expect() {
  local status=0 seen expected="$1" says="$2"
  shift 2
  rm -rf "$work/build"
  seen="$("$cmake" -S "$work" -B "$work/build" "$@" 2>&1)" || status=$?
  seen="$(tr -s ' \n' '  ' <<< "$seen")"  # CMake breaks the lines of errors
  if [[ $((status > 0)) != "$expected" || "$seen" != *"$says"* ]]; then
    echo "FAILED: $*"$'\n'"  status $status: $seen"
    failures=$((failures + 1))
  fi
}

CUDACXX="$work/old/nvcc" expect 0 'is 11.8, older than 12.4: the cuda device is left out'
CUDACXX="$work/old/nvcc" expect 1 'is 11.8, older than 12.4; set CUDACXX' -DTESSERA_CUDA=ON
CUDACXX="$work/broken/nvcc" expect 0 'nvcc cannot compile here'
CUDACXX="$work/broken/nvcc" expect 0 'is 11.8, older' -DCMAKE_CUDA_COMPILER="$work/old/nvcc"
exit $((failures > 0))
