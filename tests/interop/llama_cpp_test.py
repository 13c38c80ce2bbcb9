"""Our GGUF files in llama.cpp, on random weights: the logits, and the ids of their tokenizers.

    python tests/interop/llama_cpp_test.py --programs build/bin --logits build/tests/print_logits \
        --tokens build/tests/print_tokens
"""

import argparse
import json
import pathlib
import sys
import tempfile
import unicodedata

import interop_test
import tokenizers_test

try:
    import llama_cpp
    import numpy as np
    import sentencepiece
except ImportError as error:
    print(f"skipped: {error}; pip install llama-cpp-python sentencepiece")
    sys.exit(interop_test.SKIPPED)

GOLDEN = tokenizers_test.GOLDEN.parent
TOKENIZERS = [
    "gpt2.json",
    "llama3.json",
    "qwen2.json",
    "smollm2.json",
    "published_gpt2.json",
    "published_qwen2.json",
    "llama2.json",
    "sp_bpe.model",
    "sp_unigram.model",
]
# It has no window for these architectures, whatever the file says.
NO_WINDOW = dict(sliding_window=None, use_sliding_window=False)
# llama.cpp rounds the inputs of a product of matrices to the type that goes with the weights': this
# is the root mean square of the relative error. For Q8_0 the step is 1/127 of the largest of 32
# values, which of normal ones is 2.1 times their deviation.
ROUNDING = dict(f32=2.0**-24, f16=2.0**-12, bf16=2.0**-9, q8_0=2.1 / 127 / 12**0.5)
# Inputs of queries, attention's output, gate and up, and down in each layer, and of the head. Their
# errors are independent; what comes after may double one.
PRODUCTS = 4 * interop_test.SIZES["num_hidden_layers"] + 1


def bound(dtype):
    return 2 * PRODUCTS**0.5 * ROUNDING[dtype] + interop_test.ROUNDING


def load(file, **options):
    return llama_cpp.Llama(
        str(file),
        n_ctx=64,
        n_threads=1,
        n_threads_batch=1,
        type_k=0,
        type_v=0,
        logits_all=True,
        verbose=False,
        **options,
    )


def logits_there(file):
    model = load(file)
    model.eval(interop_test.tokens_of(interop_test.SIZES["vocab_size"])[0].tolist())
    return np.array(model.scores[: interop_test.TOKENS])


def check_logits(interop, name):
    """Returns how many types differ by more than rounding."""
    wrong = 0
    for dtype in ROUNDING:
        file = interop.convert(
            interop.folder / name,
            interop.folder / f"{name}-{dtype}.gguf",
            "--to",
            "gguf",
            "--dtype",
            dtype,
        )
        ours, theirs = interop.logits_here(file), logits_there(file)
        difference = np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2))
        print(f"  {dtype:6} {difference:.1e} (at most {bound(dtype):.1e})", flush=True)
        wrong += int(difference > bound(dtype))
    return wrong


def check_models(interop):
    wrong = 0
    for seed, (name, (config_class, settings)) in enumerate(interop_test.CASES.items()):
        if "sliding_window" in settings:
            settings = {**settings, **NO_WINDOW}
        print(name, flush=True)
        model = interop_test.make_model(config_class, settings, seed)
        model.save_pretrained(interop.folder / name)
        wrong += check_logits(interop, name)
    return wrong


def comparable(text, name):
    """llama.cpp does not compose characters, takes </s> for a special token wherever there is one,
    and keeps a space mark of the text at its end."""
    if "qwen2" in name:
        return text == unicodedata.normalize("NFC", text) and "</s>" not in text
    return "unigram" not in name or not text.endswith("\u2581")


def check_tokenizer(interop, name, program):
    """A small model with the tokenizer; returns how many texts have other ids there."""
    source = GOLDEN / name
    folder = interop.folder / f"with-{name}"
    model = interop_test.make_model(
        interop_test.LlamaConfig, dict(vocab_size=vocabulary_size(source)), seed=0
    )
    model.save_pretrained(folder)
    (folder / f"tokenizer{source.suffix}").write_bytes(source.read_bytes())
    file = interop.convert(folder, interop.folder / f"with-{name}.gguf", "--to", "gguf")
    there = load(file, vocab_only=True)
    texts = [
        t for t in json.loads(tokenizers_test.GOLDEN.read_text())["texts"] if comparable(t, name)
    ]
    special = source.suffix == ".json"  # sentencepiece never takes text for special tokens
    theirs = [there.tokenize(t.encode(), add_bos=False, special=special) for t in texts]
    ours = [ids for ids, _ in tokenizers_test.here(program, source, [t.encode() for t in texts])]
    compare = tokenizers_test.Comparison()
    compare.check(name, "llama.cpp", texts, ours, theirs)
    return compare.differences


def vocabulary_size(path):
    if path.suffix == ".json":
        state = json.loads(path.read_text())
        return 1 + max(
            [*state["model"]["vocab"].values(), *(token["id"] for token in state["added_tokens"])]
        )
    return len(sentencepiece.SentencePieceProcessor(model_file=str(path)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--logits", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        interop = interop_test.Interop(
            arguments.programs.resolve(), arguments.logits.resolve(), pathlib.Path(folder)
        )
        wrong = sum(
            check_tokenizer(interop, name, arguments.tokens.resolve()) for name in TOKENIZERS
        )
        wrong += check_models(interop)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
