#!/usr/bin/env python3
"""Makes tests/golden/tokenizers/published*.json: what the golden texts (make_tokenizers.py) and
some conversations touch of two published tokenizers, and the ids that their own libraries give.

  pip install tiktoken tokenizers jinja2 h5py openai-whisper dashscope
  tests/golden/make_published.py LLAMA_CPP_SOURCES

A cut has the tokens that occur in the texts' bytes, renumbered in the order of their ranks, and the
merges that lead to them. So it treats these texts as the whole vocabulary does. The ids come from
the whole one and are renumbered: tiktoken's, and for conversations those of Qwen2.5's template.

Both vocabularies may be passed on (tests/golden/tokenizers/NOTICE.md). Llama 3's only with Meta's
license, so it is compared where its package is installed (tests/interop), and nothing of it is
here.
"""

import json
import pathlib
import sys
import unicodedata

import tiktoken
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE / "tokenizers"
sys.path.insert(0, str(HERE.parent / "interop"))
LLAMA_CPP = pathlib.Path(sys.argv.pop(1))
import chat_test  # noqa: E402
import published_tokenizers as published  # noqa: E402

QWEN = LLAMA_CPP / "models/templates/Qwen-Qwen2.5-7B-Instruct.jinja"
# Options of tokenizer_json(), the special tokens to keep, and the chat template.
CUTS = {
    "gpt2": (dict(pre_tokenizer=published.byte_level()), ["<|endoftext|>"], None),
    "qwen2": (
        dict(pre_tokenizer=published.split(published.QWEN2), normalizer={"type": "NFC"}),
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        "chatml",
    ),
}


def cut(whole, texts, special):
    """Ranks and special tokens of the cut, and the new number of each old one."""
    forms = {t.encode() for t in texts} | {unicodedata.normalize("NFC", t).encode() for t in texts}
    kept = [t for t in whole.ranks if len(t) == 1 or any(t in text for text in forms)]
    kept.sort(key=whole.ranks.get)
    number = {whole.ranks[token]: i for i, token in enumerate(kept)}
    number.update({whole.special[text]: len(kept) + i for i, text in enumerate(special)})
    return (
        {token: number[whole.ranks[token]] for token in kept},
        {text: number[whole.special[text]] for text in special},
        number,
    )


def reference_ids(whole, texts):
    encoding = tiktoken.Encoding(
        "whole", pat_str=whole.pattern, mergeable_ranks=whole.ranks, special_tokens=whole.special
    )
    if whole.normal_form:
        texts = [unicodedata.normalize(whole.normal_form, text) for text in texts]
    return [encoding.encode(text, allowed_special="all") for text in texts]


def conversations(whole, dialogs):
    encode = chat_test.with_template(QWEN, Tokenizer.from_str(whole.text), "<|im_end|>")
    return [encode(dialog) for dialog in dialogs]


def main():
    texts = json.loads((FOLDER / "golden.json").read_text())["texts"]
    dialogs = list(chat_test.conversations())
    touched = texts + ["system\n\n", "user\n\n", "assistant\n\n"]
    touched += [message["content"] for dialog in dialogs for message in dialog]
    golden = {"ids": {}, "decoded": {}, "dialogs": dialogs, "chat": {}}
    for name, (options, special, template) in CUTS.items():
        whole = published.tokenizer_of(name)
        ranks, specials, number = cut(whole, touched, special)
        text = json.dumps(
            published.tokenizer_json(ranks, specials, **options),
            ensure_ascii=False,
            separators=(",", ":"),
        )
        file = f"published_{name}.json"
        (FOLDER / file).write_text(text + "\n")
        ids = [[number[i] for i in some] for some in reference_ids(whole, texts)]
        there = Tokenizer.from_str(text)
        encoded = [there.encode(text, add_special_tokens=False).ids for text in texts]
        assert encoded == ids, [t for t, a, b in zip(texts, ids, encoded) if a != b]
        decoded = [there.decode(some, skip_special_tokens=True) for some in ids]
        golden["ids"][file] = ids
        golden["decoded"][file] = [None if d == t else d for d, t in zip(decoded, texts)]
        if template:
            both = conversations(whole, dialogs)
            golden["chat"][file] = {
                "template": template,
                "ids": [[number[i] for i in some] for some, _ in both],
                "mask": [mask for _, mask in both],
            }
    text = json.dumps(golden, separators=(",", ":")).replace("]],", "]],\n")
    (FOLDER / "published.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
