"""Writes the tiny models of this folder and the logits that transformers computes with them.

    pip install torch transformers safetensors
    python tests/golden/formats/make_golden.py

The files here were written by transformers 5.23.0 with torch 2.15.0. Each folder is what
save_pretrained() writes (weights random, seed fixed), and expected.safetensors: `logits`
[tokens, vocabulary] in f32 after each of the tokens (5 + 7 i + i^2) mod vocabulary.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

FOLDER = pathlib.Path(__file__).parent
TOKENS = 32
SIZES = dict(
    vocab_size=32,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=64,
    initializer_range=0.3,
    rms_norm_eps=1e-5,
)


def rope(kind, **keys):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=100.0, **keys))


LLAMA3 = rope(
    "llama3",
    factor=4.0,
    original_max_position_embeddings=16,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=8.0, beta_slow=1.0)
CASES = dict(
    llama=(LlamaConfig, torch.float32, dict(num_attention_heads=2, num_key_value_heads=1)),
    llama_tied=(LlamaConfig, torch.bfloat16, dict(num_attention_heads=2, tie_word_embeddings=True)),
    llama_linear=(LlamaConfig, torch.float16, rope("linear", factor=4.0)),
    llama_yarn=(LlamaConfig, torch.bfloat16, dict(hidden_size=32, intermediate_size=32, **YARN)),
    llama_llama3=(LlamaConfig, torch.bfloat16, LLAMA3),
    mistral=(MistralConfig, torch.bfloat16, dict(sliding_window=6)),
    qwen2=(Qwen2Config, torch.bfloat16, dict(tie_word_embeddings=True)),
    qwen3=(Qwen3Config, torch.bfloat16, {}),
)


def tokens_of(vocabulary):
    return torch.tensor([[(5 + 7 * i + i * i) % vocabulary for i in range(TOKENS)]])


def make_model(config_class, dtype, settings, seed):
    torch.manual_seed(seed)
    config = config_class(**{**SIZES, **settings})
    model = AutoModelForCausalLM.from_config(config).to(torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms and biases, which begin at 1 and 0
                parameter.add_(0.2 * torch.randn_like(parameter))
            parameter.copy_(parameter.to(dtype).to(torch.float32))
    return model


def to_version_4(path):
    """rope_theta and rope_scaling at the top, as transformers 4 writes them."""
    config = json.loads(path.read_text())
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    config["rope_scaling"] = parameters
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2) + "\n")


def main():
    torch.set_num_threads(1)
    for seed, (name, (config_class, dtype, settings)) in enumerate(CASES.items()):
        model = make_model(config_class, dtype, settings, seed)
        with torch.no_grad():
            logits = model(tokens_of(SIZES["vocab_size"])).logits[0].contiguous()
        folder = FOLDER / name
        shards = dict(max_shard_size="8KB") if name == "llama_yarn" else {}
        model.to(dtype).save_pretrained(folder, **shards)
        save_file({"logits": logits}, folder / "expected.safetensors")
        if name == "llama_llama3":
            to_version_4(folder / "config.json")


main()
