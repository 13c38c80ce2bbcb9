#!/usr/bin/env bash
# nvcc_gate.sh [--warn] NVCC ARGUMENTS: runs the compiler and fails (or warns) where ptxas, run with
# -v, tells of registers spilled, of local memory (an array that is indexed at run time), or of
# waits that it put between wgmma instructions (messages C75xx). ptxas's account goes to
# OBJECT.ptxas, from which tools/ptxas-table makes a page; what people should read goes to the
# terminal.
set -uo pipefail

warn=0
if [[ "${1:-}" == --warn ]]; then warn=1; shift; fi
object=""
arguments=("$@")
for ((i = 0; i < $#; ++i)); do
  [[ "${arguments[i]}" == -o ]] && object="${arguments[i + 1]:-}"
done
report="${object:-nvcc}.ptxas"
"$@" 2> "$report"
status=$?
# The account itself is of no interest on a terminal.
grep -vE '^ptxas info |^ +[0-9]+ bytes stack frame|^$' "$report" >&2
[[ $status -eq 0 ]] || exit $status

violations="$(awk '
  /Compiling entry function/ { kernel = $0; sub(/.*entry function /, "", kernel) }
  /bytes stack frame/ && !/^ +0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads/ {
    sub(/^ +/, ""); print kernel ": " $0
  }
  /C75[0-9][0-9]/ { print kernel ": " $0 }
' "$report")"
[[ -z "$violations" ]] && exit 0
{
  echo "nvcc_gate: ${object}: kernels must not spill, use local memory or serialise wgmma:"
  echo "$violations"
  echo "Use fewer registers (smaller tiles, __launch_bounds__) and unroll loops that index arrays."
} >&2
((warn)) && exit 0
rm -f "$object"
exit 1
