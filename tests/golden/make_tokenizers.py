#!/usr/bin/env python3
"""Makes tests/golden/tokenizers: small tokenizers with the rules of published ones, and the ids
that the reference libraries give for texts of all kinds.

  pip install tokenizers sentencepiece
  tests/golden/make_tokenizers.py

The splitting patterns are those that GPT-2, Llama 3, Qwen2 and SmolLM2 publish in their
tokenizer.json; the vocabularies are trained here on this repository's documentation.
"""

import io
import json
import pathlib
import tempfile
import unicodedata

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
FOLDER = HERE / "tokenizers"

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def of_every_category():
    """Some characters of each Unicode category, of those that were there in Unicode 3.2."""
    old = unicodedata.ucd_3_2_0
    found = {}
    for code in list(range(0x3100)) + list(range(0xA000, 0x110000, 7)):
        c = chr(code)
        category = unicodedata.category(c)
        if category == old.category(c) and category not in ("Cn", "Cs"):
            found.setdefault(category, []).append(c)
    return {k: v[:: max(1, len(v) // 12)][:14] for k, v in sorted(found.items())}


def texts():
    result = [
        "",
        " ",
        "a",
        "Hello, world!",
        "  leading and trailing  ",
        "\n",
        "\r\n\r\n",
        "don't I'LL you'Re we'VE it'S I'm he'd 'tis 's'",
        "\u2019s \u017fs '\u017f 'K",
    ]
    for category, chars in of_every_category().items():
        result.append("".join(f"a{c}b {c}{c}1 {c} \n{c}x" for c in chars))
        result.append(category + " " + "".join(chars) + " " + " ".join(chars))
    result += [
        "\U0001f600\U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
        " \U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 \u2764\ufe0f\u200d\U0001f525 1\ufe0f\u20e3",
        "int main(int argc, char** argv) {\n\tfor (int i = 0; i < 10'000; ++i) {\n"
        "\t\tprintf(\"%d\\n\", i);  // a comment\n\t}\n    return 0;\n}\n",
        "def f(x):\n    if x:\n        return x ** 2\n\n\n    # done\n\tpass\n",
        "a  b   c    d     e\t\tf\n\n\ng \n h\n \ni\r\nj\r\rk \t \n\t l   \n   ",
        "\u00a0nbsp\u2003em\u3000wide\u200bzero\u180emongol\u0085next"
        "\u2028line\u2029par\x0b\x0c\x1c",
        "e\u0301 E\u0300\u0323 o\u0302\u0323\u0301 \u1112\u1161\u11ab\uac00\u11a8 \u0958 \ufb01"
        " \u2126"
        " \u212b A\u030a \u0344 \u00bd \u2460 \u33a5 \ufdfa",
        "1234567890 12 345 6.789e-10 0x1F 1,000,000 \u0663\u0664\u0665 \u00b2\u00b3 \u216b \u4e09",
        "<|endoftext|>",
        "a<|endoftext|> b <|endoftext|><|endoftext|>\n<|endoftext|",
        "<s>x</s> <unk>",
        "<|im_start|>user\nHi<|im_end|>\n<|begin_of_text|>",
        "<MASK> x <MASK>  y\n<MASK>z <mask >",
        "word WORD wordy <WORD> a<WORD>b (<WORD>) <WORD> \u24d1<WORD>",
        "caf\u00e9<NORM\u00c9> caf\u00e9 cafe\u0301<NORME\u0301>",
        "x" * 300,
        "ab" * 200,
        "the " * 50,
        " " * 200 + "x",
        "\n" * 100,
        "!?" * 200,
        "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f\u4e16\u754c"
        " \ud55c\uad6d\uc5b4 "
        "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0928\u092e\u0938\u094d\u0924\u0947 "
        "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
        "\u2581already\u2581marked \u2581 x\u2581",
        "nul\x00nul \x01\x02\x7f",
        "\ufffd\ufeff\U0010ffff\ue000",
        "https://example.org/a_b?c=d&e=%20f#g me@example.org C++ snake_case camelCase __init__",
    ]
    return result


def corpus():
    files = sorted(REPOSITORY.glob("docs/**/*.md")) + [REPOSITORY / "README.md"]
    return [f.read_text() for f in files] + texts()


def train(tokenizer, size, specials):
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=specials,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus(), trainer)


def split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def byte_level(pre_tokenizer, size, specials, normalizer=None, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    train(tokenizer, size, specials)
    return tokenizer


def gpt2():
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), 700, ["<|endoftext|>"])


def llama3():
    tokenizer = byte_level(
        split(LLAMA3), 800, ["<|begin_of_text|>", "<|end_of_text|>"], ignore_merges=True
    )
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    template = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|> $B",
        special_tokens=[("<|begin_of_text|>", begin)],
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template]
    )
    # A word of the vocabulary that no merges lead to: ignore_merges finds it.
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"]["wordy"] = len(state["model"]["vocab"])
    return Tokenizer.from_str(json.dumps(state))


def qwen2():
    return byte_level(
        split(QWEN2), 700, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC()
    )


def smollm2():
    steps = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return byte_level(steps, 700, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])


def added():
    """Added tokens of every kind, a prefix space, and a normalizer that changes much."""
    tokenizer = byte_level(
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        600,
        ["<|endoftext|>"],
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
    )
    tokenizer.add_tokens(
        [
            AddedToken("<MASK>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("<WORD>", single_word=True, normalized=False),
            AddedToken("<NORM\u00c9>", normalized=True),
            AddedToken("word", single_word=True),
        ]
    )
    return tokenizer


def sentencepiece_model(kind, size):
    """BPE as Llama 2 has it; unigram with a small table of replacements and the other defaults."""
    out = io.BytesIO()
    rules = tempfile.NamedTemporaryFile("w", suffix=".tsv")
    rules.write(
        "".join(
            f"{ord(a):X}\t{b}\n"
            for a, b in (
                ("\u00a0", "20"),
                ("\t", "20"),
                ("\u3000", "20"),
                ("\ufb01", "66 69"),
                ("\u00bd", "31 2F 32"),
                ("\u212b", "C5"),
                ("\u200b", ""),
            )
        )
    )
    rules.flush()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(
            line for text in corpus() for line in text.splitlines() if line and "\0" not in line
        ),
        model_writer=out,
        vocab_size=size,
        model_type=kind,
        byte_fallback=kind == "bpe",
        split_digits=True,
        minloglevel=2,
        num_threads=1,
        character_coverage=0.99,
        max_sentence_length=100000,
        **(
            {
                "normalization_rule_name": "identity",
                "remove_extra_whitespaces": False,
                "allow_whitespace_only_pieces": True,
            }
            if kind == "bpe"
            else {"normalization_rule_tsv": rules.name}
        ),
    )
    return out.getvalue()


def llama2(model):
    """A SentencePiece BPE model as the tokenizer.json that Llama 2 publishes."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(len(processor))]
    vocab = {p: i for i, p in enumerate(pieces)}
    merges = []
    for i, piece in enumerate(pieces):
        if processor.is_byte(i) or processor.is_control(i) or processor.is_unknown(i):
            continue
        merges += [
            (-processor.get_score(i), vocab[piece[:k]], vocab[piece[k:]])
            for k in range(1, len(piece))
            if piece[:k] in vocab and piece[k:] in vocab
        ]
    merges = [(pieces[left], pieces[right]) for _, left, right in sorted(merges)]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")]
    )
    return tokenizer


def metaspace(model):
    """The same with the pre-tokenizer that newer files have."""
    tokenizer = Tokenizer.from_str(llama2(model).to_str())
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return tokenizer


def main():
    FOLDER.mkdir(exist_ok=True)
    golden = {"texts": texts(), "ids": {}, "decoded": {}}

    def record(name, encode, decode):
        ids = [encode(t) for t in golden["texts"]]
        golden["ids"][name] = ids
        decoded = [decode(i) for i in ids]  # null where it is the text itself
        golden["decoded"][name] = [None if d == t else d for d, t in zip(decoded, golden["texts"])]

    bpe, unigram = sentencepiece_model("bpe", 700), sentencepiece_model("unigram", 400)
    made = {
        "gpt2": gpt2(),
        "llama3": llama3(),
        "qwen2": qwen2(),
        "smollm2": smollm2(),
        "added": added(),
        "llama2": llama2(bpe),
        "metaspace": metaspace(bpe),
    }
    for name, tokenizer in made.items():
        state = json.loads(tokenizer.to_str())
        if name in ("gpt2", "smollm2", "llama2"):  # as older files spell it
            state["model"]["merges"] = [" ".join(m) for m in state["model"]["merges"]]
        text = json.dumps(state, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n")
        tokenizer = Tokenizer.from_str(text)
        record(
            f"{name}.json",
            lambda t: tokenizer.encode(t, add_special_tokens=False).ids,
            lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
        )
    for name, model in (("sp_bpe", bpe), ("sp_unigram", unigram)):
        (FOLDER / f"{name}.model").write_bytes(model)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        record(f"{name}.model", processor.encode, processor.decode)
    text = json.dumps(golden, separators=(",", ":")).replace("]],", "]],\n")
    (FOLDER / "golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
