#!/usr/bin/env bash
# nvcc_gate_test.sh GATE: cmake/nvcc_gate.sh before a stand-in for nvcc that says what ptxas might.
set -euo pipefail
gate="$1"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

cat > "$work/nvcc" <<'END'
#!/usr/bin/env bash
echo object > "${@: -1}"
printf '%s\n' "$SAYS" >&2
exit "${STATUS:-0}"
END
chmod +x "$work/nvcc"

head="ptxas info    : Compiling entry function '_Z6kernelPf' for 'sm_90a'"
clean='    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads'
used='ptxas info    : Used 32 registers, used 1 barriers'

failures=0
# expect STATUS OBJECT(kept|removed) TERMINAL SAYS: TERMINAL must be in what people see; "" where
# they see nothing.
expect() {
  local status=0 object=removed seen
  seen="$(SAYS="$4" "$gate" ${WARN:+--warn} "$work/nvcc" -c a.cu -o "$work/a.o" 2>&1)" || status=$?
  [[ -e "$work/a.o" ]] && object=kept
  if [[ $status != "$1" || $object != "$2" || ($3 == '' && -n "$seen") || "$seen" != *"$3"* ]]; then
    echo "FAILED: ptxas: $4"$'\n'"  status $status, object $object, terminal: $seen"
    failures=$((failures + 1))
  fi
  rm -f "$work/a.o"
}

expect 0 kept '' "$head"$'\n'"$clean"$'\n'"$used"
expect 0 kept 'a.cu(3): warning' 'a.cu(3): warning #177-D: variable "x" was declared but never used'
frame="${clean/0 bytes stack/8 bytes stack}" spill="${clean/0 bytes spill s/16 bytes spill s}"
expect 1 removed "_Z6kernelPf' for 'sm_90a': 8 bytes stack frame" "$head"$'\n'"$frame"
expect 1 removed '16 bytes spill stores' "$head"$'\n'"$spill"
expect 1 removed 'C7510' "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async"
WARN=1 expect 0 kept '16 bytes spill stores' "$head"$'\n'"$spill"
STATUS=2 expect 2 kept 'error: expected a ";"' 'a.cu(1): error: expected a ";"'

# The account is kept for tools/ptxas-table.
[[ -s "$work/a.o.ptxas" ]] || { echo "FAILED: no account"; failures=$((failures + 1)); }
exit $((failures > 0))
