"""Published tokenizers, put together from Python packages that carry their vocabularies.

Nothing is fetched: what is not installed is left out. The packages have the ranks of byte-level BPE
(token and rank on a line) and the patterns; a tokenizer.json has merges instead, which the ranks
determine. Normalizers and added tokens are those of the published files.

    pip install openai-whisper llama-models dashscope litellm mistral-common   # --no-deps will do
"""

import base64
import importlib.util
import json
import pathlib

GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
LLAMA4 = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


def package_file(package, path):
    """The path of a file of an installed package, or None; the package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    file = pathlib.Path(spec.submodule_search_locations[0]) / path
    return file if file.exists() else None


def read_ranks(path):
    lines = path.read_text().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in map(str.split, lines)}


def byte_alphabet():
    """GPT-2's printable characters for bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def last_merge(token, ranks):
    """The two parts that merges of lower rank make of a token."""
    parts = [bytes([b]) for b in token]
    while len(parts) > 2:
        pairs = [(ranks.get(parts[i] + parts[i + 1], len(ranks)), i) for i in range(len(parts) - 1)]
        rank, at = min(pairs)
        if rank >= ranks[token]:
            return None
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return tuple(parts)


def every_split(token, ranks):
    """All pairs of tokens that make a token, as transformers derives merges from ranks."""
    pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
    pairs = [p for p in pairs if p[0] in ranks and p[1] in ranks]
    return sorted(pairs, key=lambda p: (ranks[p[0]], ranks[p[1]]))


def merges_of(ranks, all_splits):
    for token in sorted(ranks, key=ranks.get):
        if len(token) > 1:
            pair = last_merge(token, ranks)
            yield from every_split(token, ranks) if all_splits else [pair] if pair else []


def added_token(number, content):
    return {
        "id": number,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def byte_level(add_prefix_space=False, use_regex=True):
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def split(pattern):
    return {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": pattern},
                "behavior": "Isolated",
                "invert": False,
            },
            byte_level(use_regex=False),
        ],
    }


def tokenizer_json(
    ranks,
    special,
    pre_tokenizer,
    normalizer=None,
    begin=None,
    all_splits=False,
    ignore_merges=False,
):
    alphabet = byte_alphabet()

    def spelled(token):
        return "".join(alphabet[b] for b in token)

    processor = byte_level()
    if begin:
        template = {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": begin, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {begin: {"id": begin, "ids": [special[begin]], "tokens": [begin]}},
        }
        processor = {"type": "Sequence", "processors": [processor, template]}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": ignore_merges,
        "vocab": {spelled(t): r for t, r in ranks.items()},
        "merges": [[spelled(left), spelled(right)] for left, right in merges_of(ranks, all_splits)],
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(number, text) for text, number in special.items()],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": processor,
        "decoder": byte_level(),
        "model": model,
    }


def llama3_special(first):
    names = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<|reserved_special_token_1|>",
        "<|finetune_right_pad_id|>",
        "<|reserved_special_token_2|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
    ]
    names += [f"<|reserved_special_token_{i}|>" for i in range(3, 256 - len(names) + 3)]
    return {name: first + i for i, name in enumerate(names)}


class Published:
    """A tokenizer.json, and what tiktoken needs for the same, where the ranks are known."""

    def __init__(self, text, pattern=None, ranks=None, special=None, normal_form=None):
        self.text, self.pattern, self.ranks, self.special = text, pattern, ranks, special
        self.normal_form = normal_form


def from_ranks(path, pattern, special, normalizer=None, pre_tokenizer=None, **options):
    ranks = read_ranks(path)
    special = special(len(ranks))
    state = tokenizer_json(ranks, special, pre_tokenizer or split(pattern), normalizer, **options)
    form = normalizer["type"] if normalizer else None
    return Published(json.dumps(state, ensure_ascii=False), pattern, ranks, special, form)


def named(*names):
    return lambda first: {name: first + i for i, name in enumerate(names)}


# By name: package, file in it, and what makes the Published of the file.
TOKENIZERS = {
    "gpt2": (
        "whisper",
        "assets/gpt2.tiktoken",
        lambda path: from_ranks(path, GPT2, named("<|endoftext|>"), pre_tokenizer=byte_level()),
    ),
    "llama3": (
        "llama_models",
        "llama3/tokenizer.model",
        lambda path: from_ranks(
            path,
            LLAMA3,
            llama3_special,
            begin="<|begin_of_text|>",
            all_splits=True,
            ignore_merges=True,
        ),
    ),
    "qwen2": (
        "dashscope",
        "resources/qwen.tiktoken",
        lambda path: from_ranks(
            path, QWEN2, named("<|endoftext|>", "<|im_start|>", "<|im_end|>"), {"type": "NFC"}
        ),
    ),
    "llama4": (
        "llama_models",
        "llama4/tokenizer.model",
        lambda path: from_ranks(
            path,
            LLAMA4,
            named("<|begin_of_text|>", "<|end_of_text|>"),
            all_splits=True,
            ignore_merges=True,
        ),
    ),
    "deepseek": (
        "litellm",
        "litellm_core_utils/tokenizers/deepseek_tokenizer.json",
        lambda path: Published(path.read_text()),
    ),
}
# SentencePiece models.
MODELS = {
    "mistral_v1": ("mistral_common", "data/tokenizer.model.v1"),
    "mistral_v2": ("mistral_common", "data/mistral_instruct_tokenizer_240216.model.v2"),
    "mistral_v3": ("mistral_common", "data/mistral_instruct_tokenizer_240323.model.v3"),
}


def starcoder(llama_cpp):
    """StarCoder's vocabulary out of llama.cpp's source tree, with the rules that SmolLM2 has, too:
    digits one by one, then GPT-2's words. None where a package or the file is missing."""
    path = llama_cpp / "models/ggml-vocab-starcoder.gguf"
    if not importlib.util.find_spec("gguf") or not path.exists():
        return None
    import gguf

    fields = gguf.GGUFReader(path).fields
    tokens, merges, kinds = (
        fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges", "token_type")
    )
    state = tokenizer_json(
        {},
        {},
        {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level()],
        },
    )
    state["model"]["vocab"] = {token: i for i, token in enumerate(tokens)}
    state["model"]["merges"] = merges
    state["added_tokens"] = [
        added_token(i, tokens[i]) for i, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL
    ]
    return Published(json.dumps(state, ensure_ascii=False))


def tokenizer_of(name):
    """A Published, or None where the package is not installed."""
    package, file, make = TOKENIZERS[name]
    path = found(name, package, file)
    return make(path) if path else None


def model_of(name):
    return found(name, *MODELS[name])


def found(name, package, file):
    path = package_file(package, file)
    if not path:
        print(f"{name}: left out, because no package {package} with {file} is installed")
    return path
