"""What transformers and gguf make of our files, and we of theirs, on random weights.

For every case: a model that transformers saves is read here and gives its logits; converted to a
checkpoint and exported again, transformers reads the folder and the GGUF file, without a missing or
surplus weight, and computes the same logits. gguf reads the files and its metadata are right.

    python tests/interop/interop_test.py --programs build/bin --logits build/tests/print_logits
"""

import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77
os.environ["TQDM_DISABLE"] = "1"
try:
    import gguf
    import numpy as np
    import torch
    import transformers
    from transformers import (
        AutoModelForCausalLM,
        LlamaConfig,
        MistralConfig,
        Qwen2Config,
        Qwen3Config,
    )
except ImportError as error:
    print(f"skipped: {error}; pip install torch transformers safetensors gguf")
    sys.exit(SKIPPED)

TOKENS = 48
SIZES = dict(
    vocab_size=96,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=8,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=None,
)
# An angle of position p is off by p 2^-23 in f32, for the query and for the key (transformers
# computes it in f32); no other rounding of these small models is as large.
ROUNDING = 2 * TOKENS * 2.0**-23


def rope(kind, **keys):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=10000.0, **keys))


CASES = dict(
    llama_untied=(LlamaConfig, {}),
    llama_tied=(LlamaConfig, dict(tie_word_embeddings=True)),
    smollm2=(
        LlamaConfig,
        dict(
            num_attention_heads=9,
            num_key_value_heads=3,
            head_dim=32,
            hidden_size=288,
            tie_word_embeddings=True,
        ),
    ),
    llama_linear=(LlamaConfig, rope("linear", factor=4.0)),
    llama_yarn=(LlamaConfig, rope("yarn", factor=4.0, original_max_position_embeddings=16)),
    llama_llama3=(
        LlamaConfig,
        rope(
            "llama3",
            factor=8.0,
            original_max_position_embeddings=16,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
        ),
    ),
    mistral=(MistralConfig, dict(sliding_window=10)),
    qwen2=(Qwen2Config, dict(head_dim=8, tie_word_embeddings=True)),
    qwen2_window=(
        Qwen2Config,
        dict(head_dim=8, use_sliding_window=True, sliding_window=10, max_window_layers=0),
    ),
    qwen3=(Qwen3Config, dict(head_dim=128)),
)
# transformers' reader of GGUF needs accelerate. It passes over windows, scaling and Qwen's
# head_dim.
GGUF_READ_BACK = ["llama_untied", "llama_tied", "smollm2", "qwen2", "qwen3"]


def tokens_of(vocabulary):
    return torch.tensor([[(5 + 7 * i + i * i) % vocabulary for i in range(TOKENS)]])


def logits_there(model):
    with torch.no_grad():
        return model(tokens_of(SIZES["vocab_size"])).logits[0].numpy()


def load_there(folder, **options):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, **options
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[kind], f"{folder}: {kind} {info[kind]}"
    return model.eval()


def check_equal(name, ours, theirs, bound=ROUNDING):
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"  {name:34} {difference:.1e} (at most {bound:.1e})")
    assert difference <= bound, f"{name}: logits differ by {difference}"


def make_model(config_class, settings, seed):
    torch.manual_seed(seed)
    config = config_class(**{**SIZES, **settings})
    config.initializer_range = config.hidden_size**-0.5  # products of the variance of their inputs
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.float().eval()


class Interop:
    def __init__(self, programs, logits, folder):
        self.programs, self.logits, self.folder = programs, logits, folder

    def convert(self, source, target, *options):
        subprocess.run(
            [self.programs / "convert-checkpoint", source, target, *options],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return target

    def logits_here(self, path):
        out = subprocess.run([self.logits, path, str(TOKENS)], check=True, capture_output=True)
        return np.frombuffer(out.stdout, np.float32).reshape(TOKENS, SIZES["vocab_size"])

    def check_folders(self, name, model):
        expected = logits_there(model)
        theirs = self.folder / name
        model.save_pretrained(theirs, max_shard_size="40KB")
        check_equal("read here", self.logits_here(theirs), expected)
        checkpoint = self.convert(theirs, self.folder / f"{name}-checkpoint")
        ours = self.convert(checkpoint, self.folder / f"{name}-ours", "--max-shard-size", "50KB")
        check_equal("written here", logits_there(load_there(ours)), expected)
        return checkpoint, expected

    def check_gguf(self, name, checkpoint, expected):
        for dtype in ("f32", "f16", "bf16", "q8_0"):
            file = self.convert(checkpoint, self.folder / f"{name}-{dtype}.gguf", "--dtype", dtype)
            check_tensors(file, dtype)
        file = self.folder / f"{name}-f32.gguf"
        check_equal("gguf, read here", self.logits_here(file), expected)
        if name in GGUF_READ_BACK and importlib.util.find_spec("accelerate"):
            there = load_there(self.folder, gguf_file=file.name)
            check_equal("gguf, read there", logits_there(there), expected)


def check_tensors(file, dtype):
    """Shapes, types, and quantized values that gguf's own quantization gives too."""
    reader = gguf.GGUFReader(file)
    exact = {
        tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(str(file).replace(dtype, "f32")).tensors
    }
    kinds = {kind.name.lower(): kind for kind in gguf.GGMLQuantizationType}
    for tensor in reader.tensors:
        kind = kinds["f32" if len(tensor.shape) == 1 else dtype]
        assert tensor.tensor_type == kind, (file, tensor.name, tensor.tensor_type)
        quantized = gguf.quantize(exact[tensor.name], kind)
        values = gguf.dequantize(quantized, kind)
        ours = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(values, ours), (file, tensor.name)


def check_metadata(file, model):
    config = model.config
    fields = gguf.GGUFReader(file).fields
    architecture = fields["general.architecture"].contents()
    assert architecture == config.model_type.replace("mistral", "llama"), architecture
    expected = {
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "context_length": config.max_position_embeddings,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "rope.dimension_count": config.head_dim,
        "attention.layer_norm_rms_epsilon": np.float32(config.rms_norm_eps),
        "rope.freq_base": config.rope_parameters["rope_theta"],
        "vocab_size": config.vocab_size,
    }
    for key, value in expected.items():
        stored = fields[f"{architecture}.{key}"].contents()
        assert np.float32(stored) == np.float32(value), (key, stored, value)
    for key in ("bos", "eos"):
        assert fields[f"tokenizer.ggml.{key}_token_id"].contents() == SIZES[f"{key}_token_id"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--logits", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        interop = Interop(
            arguments.programs.resolve(), arguments.logits.resolve(), pathlib.Path(folder)
        )
        for seed, (name, (config_class, settings)) in enumerate(CASES.items()):
            print(name, flush=True)
            model = make_model(config_class, settings, seed)
            checkpoint, expected = interop.check_folders(name, model)
            interop.check_gguf(name, checkpoint, expected)
            check_metadata(interop.folder / f"{name}-f32.gguf", model)


if __name__ == "__main__":
    main()
