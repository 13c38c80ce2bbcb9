#!/usr/bin/env python3
"""Times PyTorch's flash attention and ours (`bench attention`) in turn, on the CPU.

    python3 tests/bench/compare_pytorch_attention.py --bench build/bin/bench [--rounds 3]

One sequence, 4 heads. PyTorch is scaled_dot_product_attention, held to its flash kernel; backward
is autograd's time after a forward that is not timed. Each measurement is a process of its own.
Needs the `torch` package.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from compare_pytorch import run_json

HEADS = 4


def time_pytorch(length, head_dim, dtype, causal, seconds):
    """Prints one JSON object: median milliseconds forward and backward."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(1)
    kind = torch.float32 if dtype == "f32" else torch.bfloat16
    q, k, v = (
        torch.randn(1, HEADS, length, head_dim, dtype=kind, requires_grad=True) for _ in range(3)
    )
    gradient = torch.randn(1, HEADS, length, head_dim, dtype=kind)
    forward, backward = [], []
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        start = time.perf_counter()
        while time.perf_counter() - start < seconds or len(forward) < 4:
            begin = time.perf_counter()
            output = scaled_dot_product_attention(q, k, v, is_causal=causal)
            middle = time.perf_counter()
            torch.autograd.grad(output, (q, k, v), gradient)
            forward.append(middle - begin)
            backward.append(time.perf_counter() - middle)
    # The first calls warm up.
    print(
        json.dumps(
            {
                "forward": statistics.median(forward[1:]) * 1e3,
                "backward": statistics.median(backward[1:]) * 1e3,
            }
        )
    )


def time_ours(bench, length, head_dim, dtype, seconds):
    """{(causal, direction): milliseconds}"""
    command = [
        bench,
        "attention",
        "--backend",
        "flash",
        "--length",
        str(length),
        "--head-dim",
        str(head_dim),
    ]
    command += ["--heads", str(HEADS), "--dtype", dtype, "--json", "--seconds", str(seconds)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return {
        ("causal" in r["name"], r["name"].split()[-1]): r["ms"]
        for r in rows
        if r["name"].startswith("flash")
    }


def compare(arguments):
    print("ms of PyTorch / ms of ours = ratio, medians; forward, then backward")
    for length in arguments.lengths:
        for head_dim in (64, 128):
            for dtype in ("f32", "bf16"):
                theirs, ours = {}, {}
                for _ in range(arguments.rounds):
                    for causal in (False, True):
                        command = [
                            sys.executable,
                            __file__,
                            "--time",
                            str(length),
                            str(head_dim),
                            dtype,
                            str(int(causal)),
                        ]
                        for direction, ms in run_json(
                            command + ["--seconds", str(arguments.seconds)]
                        ).items():
                            theirs.setdefault((causal, direction), []).append(ms)
                    for key, ms in time_ours(
                        arguments.bench, length, head_dim, dtype, arguments.seconds / 4
                    ).items():
                        ours.setdefault(key, []).append(ms)
                for causal in (False, True):
                    cells = []
                    for direction in ("forward", "backward"):
                        a, b = (statistics.median(x[causal, direction]) for x in (theirs, ours))
                        cells.append(f"{a:9.2f} / {b:9.2f} = {a / b:5.2f}")
                    name = f"{dtype} S {length} D {head_dim} {'causal' if causal else 'full'}"
                    print(f"{name:<28}", "    ".join(cells), flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bench", default="build/bin/bench")
    parser.add_argument(
        "--lengths", type=lambda text: [int(n) for n in text.split(",")], default=[2048, 8192]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--time", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time:
        length, head_dim, dtype, causal = arguments.time
        time_pytorch(int(length), int(head_dim), dtype, causal == "1", arguments.seconds)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
