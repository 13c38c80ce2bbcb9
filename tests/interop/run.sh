#!/usr/bin/env bash
# run.sh PYTHON SCRIPT ARGUMENT...: runs the script, leaves with 77 without that Python.
command -v "$1" >/dev/null || { echo "$1 is not installed"; exit 77; }
exec "$@"
