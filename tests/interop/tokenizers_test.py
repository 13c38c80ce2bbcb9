"""Our ids of the published tokenizers against those of tokenizers, tiktoken and sentencepiece.

Texts: the golden test's, this repository's files, random strings of every Unicode class, and the
files named with --text. With --llama-cpp, a source tree of llama.cpp, also its test texts and the
ids that it expects. The vocabularies come from installed packages: published_tokenizers.py.

    python tests/interop/tokenizers_test.py --tokens build/tests/print_tokens
"""

import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

import published_tokenizers

SKIPPED = 77
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests/golden/tokenizers/golden.json"
try:
    from tokenizers import Tokenizer
except ImportError as error:
    print(f"skipped: {error}; pip install tokenizers")
    sys.exit(SKIPPED)
try:
    import tiktoken
except ImportError:
    tiktoken = None
try:
    import sentencepiece
except ImportError:
    sentencepiece = None

CONTRACTIONS = ["'s", "'T", "'re", "'VE", "'m", "'lL", "'d", "'x", "'", "''s", "\u2019s", "'\u017f"]
SEPARATORS = [
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\n\n",
    " \n",
    "\n ",
    "\r\n",
    "\r",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\x85",
    "\x0b",
    "\x1c",
    "\u200b",
    "\u180e",
    "\ufeff",
]
EMOJI = [
    "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f44d\U0001f3fd",
    "\u2764\ufe0f",
    "1\ufe0f\u20e3",
    "\U0001f1e9\U0001f1ea",
    "\u200d",
    "\ufe0f",
]
WORDS = (
    "the of and Hello WORLD camelCase snake_case don't Gru\u00df na\u00efve e\u0301te\u0301 "
    "\u4f60\u597d \u4e16\u754c \u043f\u0440\u0438\u0432\u0435\u0442 \u0645\u0631\u062d\u0628\u0627 "
    "\u0928\u092e\u0938\u094d\u0924\u0947 \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab int main() {} "
    "return 0; == != ... --- https://a.b/c?d=e&f <div> </div> x1y22z333 3.14159 1,000,000 0xFF "
    "\u00bd \u00b2 \u0663\u0664 \u216b \u0130 \ufb01 \u212b \u0958 \u0344"
).split()


def characters_by_category():
    """All characters that this Python's tables know."""
    found = {}
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        if category not in ("Cn", "Cs"):
            found.setdefault(category, []).append(chr(code))
    return list(found.values())


def random_strings(count, seed):
    dice = random.Random(seed)
    categories = characters_by_category()
    kinds = [
        lambda: dice.choice(dice.choice(categories)),
        lambda: dice.choice(SEPARATORS),
        lambda: dice.choice(WORDS),
        lambda: " " + dice.choice(WORDS),
        lambda: dice.choice(CONTRACTIONS),
        lambda: dice.choice(EMOJI),
        lambda: str(dice.randrange(10 ** dice.randrange(1, 12))),
        lambda: chr(dice.randrange(128)),
        lambda: chr(dice.randrange(32, 127)),
        lambda: dice.choice("\u0301\u0308\u0323\u093c\u3099\u1161\u11a8"),
        lambda: dice.choice(SEPARATORS + [".", "=", "a", "\u4e00"]) * dice.randrange(1, 90),
    ]
    for _ in range(count):
        some = dice.sample(kinds, dice.randrange(1, 5))  # a string of few kinds, or of many
        yield "".join(dice.choice(some)() for _ in range(dice.choice([2, 5, 12, 40])))


def repository_files():
    for folder in ("core", "data", "docs", "kernels", "model", "tests", "train"):
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.suffix in (".cpp", ".h", ".md", ".cu", ".py", ".json", ".txt"):
                yield path.read_text()


def texts_of(arguments):
    texts = json.loads(GOLDEN.read_text())["texts"] + list(repository_files())
    texts += random_strings(arguments.strings, seed=1)
    texts += [path.read_bytes().decode(errors="replace") for path in arguments.text]
    return texts


def here(program, tokenizer, documents):
    """The ids and the decoded bytes of each document."""
    data = b"".join(struct.pack("<I", len(d)) + d for d in documents)
    out = subprocess.run([program, tokenizer], input=data, check=True, capture_output=True).stdout
    results, at = [], 0
    while at < len(out):
        (count,) = struct.unpack_from("<I", out, at)
        ids = list(struct.unpack_from(f"<{count}I", out, at + 4))
        at += 4 + 4 * count
        (size,) = struct.unpack_from("<I", out, at)
        results.append((ids, out[at + 4 : at + 4 + size]))
        at += 4 + size
    assert len(results) == len(documents)
    return results


class Comparison:
    def __init__(self):
        self.differences = 0

    def check(self, name, reference, texts, ours, theirs):
        wrong = [i for i in range(len(texts)) if ours[i] != theirs[i]]
        self.differences += len(wrong)
        megabytes = sum(len(t.encode()) for t in texts) / 1e6
        print(
            f"{name:10} {reference:14} {len(texts):7} texts, {megabytes:6.1f} MB: "
            f"{len(wrong)} differ",
            flush=True,
        )
        for i in sorted(wrong, key=lambda i: len(texts[i]))[:10]:
            print(
                f"    {texts[i][:200]!r}\n      ours   {str(ours[i])[:300]}\n"
                f"      theirs {str(theirs[i])[:300]}"
            )


def same_normal_form(tokenizer, there):
    """Whether the library normalizes a text as unicodedata does: its tables are of Unicode 9, and
    newer marks that are out of order stay so."""
    form = tokenizer.normal_form
    if not form:
        return lambda text: True
    return lambda text: there.normalizer.normalize_str(text) == unicodedata.normalize(form, text)


def check_library(compare, name, tokenizer, texts, results):
    there = Tokenizer.from_str(tokenizer.text)
    keep = same_normal_form(tokenizer, there)
    kept = [i for i in range(len(texts)) if keep(texts[i])]
    assert len(kept) > 0.999 * len(texts), f"{name}: {len(kept)} of {len(texts)} texts"
    texts, results = [texts[i] for i in kept], [results[i] for i in kept]
    theirs = [e.ids for e in there.encode_batch(texts, add_special_tokens=False)]
    compare.check(name, "tokenizers", texts, [ids for ids, _ in results], theirs)
    decoded = there.decode_batch(theirs, skip_special_tokens=True)
    compare.check(
        name, "its decoding", texts, [text.decode(errors="replace") for _, text in results], decoded
    )


def check_tiktoken(compare, name, tokenizer, texts, results):
    encoding = tiktoken.Encoding(
        name,
        pat_str=tokenizer.pattern,
        mergeable_ranks=tokenizer.ranks,
        special_tokens=tokenizer.special,
    )
    form = tokenizer.normal_form
    normal = [unicodedata.normalize(form, text) for text in texts] if form else texts
    theirs = [encoding.encode(text, allowed_special="all") for text in normal]
    compare.check(name, "tiktoken", texts, [ids for ids, _ in results], theirs)


def check_sentencepiece(compare, name, model, texts, program):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    results = here(program, model, [text.encode() for text in texts])
    theirs = processor.encode(texts)
    compare.check(name, "sentencepiece", texts, [ids for ids, _ in results], theirs)
    compare.check(
        name,
        "its decoding",
        texts,
        [text.decode(errors="replace") for _, text in results],
        processor.decode(theirs),
    )


def check_llama_cpp(compare, name, vocabulary, file, program):
    """The texts of llama.cpp's own test and the ids that it expects."""
    texts = pathlib.Path(f"{vocabulary}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = pathlib.Path(f"{vocabulary}.out").read_text().splitlines()
    theirs = [[int(i) for i in line.split()] for line in lines]
    theirs += [[]] * (len(texts) - len(theirs))  # the text after the last separator
    results = here(program, file, [text.encode() for text in texts])
    compare.check(name, "llama.cpp", texts, [ids for ids, _ in results], theirs)


# What llama.cpp calls them.
LLAMA_CPP = dict(
    gpt2="gpt-2", llama3="llama-bpe", qwen2="qwen2", starcoder="starcoder", llama2="llama-spm"
)


class Test:
    def __init__(self, arguments, folder):
        self.program, self.folder = arguments.tokens.resolve(), folder
        self.llama_cpp = arguments.llama_cpp
        self.texts, self.compare = texts_of(arguments), Comparison()

    def check_json(self, name, tokenizer):
        file = self.folder / f"{name}.json"
        file.write_text(tokenizer.text)
        results = here(self.program, file, [text.encode() for text in self.texts])
        check_library(self.compare, name, tokenizer, self.texts, results)
        if tiktoken and tokenizer.ranks:
            check_tiktoken(self.compare, name, tokenizer, self.texts, results)
        self.check_expected(name, file)

    def check_model(self, name, model):
        if sentencepiece:
            check_sentencepiece(self.compare, name, model, self.texts, self.program)
        self.check_expected(name, model)

    def check_expected(self, name, file):
        if self.llama_cpp and name in LLAMA_CPP:
            path = self.llama_cpp / f"models/ggml-vocab-{LLAMA_CPP[name]}.gguf"
            check_llama_cpp(self.compare, name, path, file, self.program)


def run(test, arguments):
    tokenizers = {
        name: published_tokenizers.tokenizer_of(name) for name in published_tokenizers.TOKENIZERS
    }
    models = {name: published_tokenizers.model_of(name) for name in published_tokenizers.MODELS}
    if arguments.llama_cpp:
        tokenizers["starcoder"] = published_tokenizers.starcoder(arguments.llama_cpp)
    if arguments.llama2:
        models["llama2"] = arguments.llama2
    if not any([*tokenizers.values(), *models.values()]):
        print("skipped: no published vocabulary is installed; see published_tokenizers.py")
        sys.exit(SKIPPED)
    for name, tokenizer in tokenizers.items():
        if tokenizer:
            test.check_json(name, tokenizer)
    for name, model in models.items():
        if model:
            test.check_model(name, model)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=pathlib.Path, required=True, help="the program")
    parser.add_argument(
        "--text",
        type=pathlib.Path,
        action="append",
        default=[],
        help="a file to compare as one document",
    )
    parser.add_argument("--strings", type=int, default=5_000, help="how many random ones")
    parser.add_argument("--llama-cpp", type=pathlib.Path)
    parser.add_argument("--llama2", type=pathlib.Path, help="Llama 2's tokenizer.model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        test = Test(arguments, pathlib.Path(folder))
        run(test, arguments)
    sys.exit(test.compare.differences > 0)


if __name__ == "__main__":
    main()
