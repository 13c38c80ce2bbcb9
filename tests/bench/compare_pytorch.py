#!/usr/bin/env python3
"""Times training steps of PyTorch and of `bench step` in turn, on the same shapes.

    python3 tests/bench/compare_pytorch.py --bench build/bin/bench [--shapes a,b,c] [--rounds 3]

PyTorch runs its best: fused AdamW, scaled_dot_product_attention, gradient clipping; eager and
torch.compile, f32 and bf16 autocast. Each variant is a process of its own, so that peak memory is
its own too. Needs the `torch` package.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

# layers, width, heads, ffn, vocabulary, context, batch: as in tests/bench/shapes.cpp
SHAPES = {
    "a": (4, 128, 4, 352, 65, 64, 12),
    "b": (6, 288, 6, 768, 4096, 256, 8),
    "c": (8, 512, 8, 1376, 8192, 1024, 2),
}


def build_model(shape):
    import torch
    import torch.nn.functional as F
    from torch import nn

    layers, width, heads, ffn, vocab, context, _ = shape
    head_dim = width // heads

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
            self.qkv = nn.Linear(width, 3 * width, bias=False)
            self.output = nn.Linear(width, width, bias=False)
            self.gate_up = nn.Linear(width, 2 * ffn, bias=False)
            self.down = nn.Linear(ffn, width, bias=False)

        def rotate(self, x, cos, sin):
            first, second = x.chunk(2, -1)
            return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

        def forward(self, x, cos, sin):
            batch, length, _ = x.shape
            qkv = self.qkv(self.norm1(x)).view(batch, length, 3, heads, head_dim)
            q, k, v = (t.transpose(1, 2) for t in qkv.unbind(2))
            q, k = self.rotate(q, cos, sin).to(v.dtype), self.rotate(k, cos, sin).to(v.dtype)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.output(y.transpose(1, 2).reshape(batch, length, width))
            gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
            return x + self.down(F.silu(gate) * up)

    class Llama(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocab, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm = nn.RMSNorm(width, eps=1e-5)
            self.head = nn.Linear(width, vocab, bias=False)
            angles = torch.outer(
                torch.arange(context), 10000.0 ** (-torch.arange(0, head_dim, 2) / head_dim)
            )
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def forward(self, tokens, targets):
            x = self.embedding(tokens)
            for block in self.blocks:
                x = block(x, self.cos, self.sin)
            logits = self.head(self.norm(x))
            return F.cross_entropy(logits.view(-1, vocab).float(), targets.view(-1))

    return Llama()


def time_pytorch(name, compiled, autocast, seconds, threads):
    """Prints one JSON object: the median step and the process's peak memory."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    shape = SHAPES[name]
    vocab, context, batch = shape[4:]
    model = build_model(shape)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    run = torch.compile(model) if compiled else model
    tokens, targets = torch.randint(vocab, (2, batch, context)).unbind(0)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = run(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(3):
        step()
    times = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 3:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"ms": statistics.median(times) * 1e3, "process_peak_mib": peak}))


def run_json(command):
    env = dict(os.environ, OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())))
    return json.loads(
        subprocess.run(
            command, check=True, capture_output=True, text=True, env=env
        ).stdout.splitlines()[-1]
    )


def compare(arguments):
    variants = {
        "torch eager f32": (False, False),
        "torch compile f32": (True, False),
        "torch eager bf16": (False, True),
        "torch compile bf16": (True, True),
    }
    for name in arguments.shapes.split(","):
        results = {}
        for _ in range(
            arguments.rounds
        ):  # in turn, so that a slow moment of the machine hits all of them
            for variant, (compiled, autocast) in variants.items():
                command = [
                    sys.executable,
                    __file__,
                    "--time",
                    name,
                    "--seconds",
                    str(arguments.seconds),
                ]
                command += ["--compiled"] * compiled + ["--autocast"] * autocast
                results.setdefault(variant, []).append(run_json(command))
            for dtype in ("f32", "bf16"):
                command = [arguments.bench, "step", "--shape", name, "--dtype", dtype, "--json"]
                command += ["--seconds", str(arguments.seconds)]
                results.setdefault(f"tessera {dtype}", []).append(run_json(command))
        print(f"({name})  ms a step and MiB of the process, medians of {arguments.rounds}")
        medians = {}
        for variant, runs in results.items():
            medians[variant] = [
                statistics.median(r[key] for r in runs) for key in ("ms", "process_peak_mib")
            ]
            print(f"    {variant:<20} {medians[variant][0]:>10.2f} {medians[variant][1]:>8.0f}")
        for dtype in ("f32", "bf16"):
            best = min(medians[v][0] for v in variants if v.endswith(dtype))
            memory = min(medians[v][1] for v in variants if v.endswith(dtype))
            ours = medians[f"tessera {dtype}"]
            print(
                f"    {dtype}: {best / ours[0]:.2f} times as fast as torch's best,"
                f" {ours[1] / memory:.2f} of its memory"
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bench", default="build/bin/bench")
    parser.add_argument("--shapes", default="a,b,c")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--time", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--autocast", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time:
        time_pytorch(
            arguments.time,
            arguments.compiled,
            arguments.autocast,
            arguments.seconds,
            arguments.threads,
        )
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
