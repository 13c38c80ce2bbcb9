"""prepare-data --template against the published formats, with the published tokenizers: the ids of
whole conversations, and which of them carry loss.

llama3: llama_models' ChatFormat. With --llama-cpp, a source tree of llama.cpp, also the chat
templates of Llama 3.1 (without its preamble about dates) and Qwen2.5, which it carries.

    python tests/interop/chat_test.py --programs build/bin
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import published_tokenizers

SKIPPED = 77
try:
    import h5py
    import jinja2
    from tokenizers import Tokenizer
except ImportError as error:
    print(f"skipped: {error}; pip install h5py jinja2 tokenizers")
    sys.exit(SKIPPED)

DIALOGS = [
    ["Who wrote War and Peace?", "Leo Tolstoy."],
    ["Hi", "Hello! How can I help you today?", "Tell me a joke, please. ", " I'd rather not\n\n"],
    ["\t Write `main` in C++.\n", "```cpp\nint main() {\n  return 0;\n}\n```\n\nThat's all."],
    [
        "\u00bfQu\u00e9 hora es? \u4f60\u597d \U0001f44d\U0001f3fd",
        "e\u0301 \u2260 \u00e9; 12345 + 1 = 12346",
    ],
    ["1", "2", "3", "4", "5", "6"],
    ["\u00a0no-break\u3000", "\u2003em quad\u2003\x85"],
]
SYSTEMS = [None, "You are a helpful assistant.", "Answer in one word.\n"]


def conversations():
    for system in SYSTEMS:
        for turns in DIALOGS:
            messages = [{"role": "system", "content": system}] if system else []
            messages += [
                {"role": ("user", "assistant")[i % 2], "content": text}
                for i, text in enumerate(turns)
            ]
            yield messages


def masked(messages, whole, prompt, end):
    """Ids of a conversation, and 1 where they follow a prompt up to the end of the turn."""
    ids = whole(messages)
    mask = [0] * len(ids)
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            start = len(prompt(messages[:i]))
            assert prompt(messages[:i]) == ids[:start], messages
            for at in range(start, ids.index(end, start) + 1):
                mask[at] = 1
    return ids, mask


def with_chat_format(messages):
    """What Llama's own code makes of a conversation without white space around its messages."""
    from llama_models.datatypes import RawMessage
    from llama_models.llama3.chat_format import ChatFormat
    from llama_models.llama3.tokenizer import Tokenizer as LlamaTokenizer

    form = ChatFormat(LlamaTokenizer.get_instance())

    def prompt(some):
        return form.encode_dialog_prompt(
            [RawMessage(role=m["role"], content=m["content"].strip()) for m in some]
        ).tokens

    header = len(prompt([])) - 1
    return masked(
        messages,
        lambda some: prompt(some)[:-header],
        prompt,
        form.tokenizer.special_tokens["<|eot_id|>"],
    )


def with_template(path, tokenizer, end, begin=""):
    """The same with a template of transformers."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(path.read_text())

    def render(messages, generate):
        text = template.render(messages=messages, bos_token=begin, add_generation_prompt=generate)
        return without_preamble(text, messages)

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False).ids

    return lambda messages: masked(
        messages,
        lambda some: encode(render(some, False)),
        lambda some: encode(render(some, True)),
        tokenizer.token_to_id(end),
    )


def without_preamble(text, messages):
    """Without the dates that Llama 3.1 puts into every system message, and without the system
    message that it and Qwen2.5 write where there is none."""
    start = "<|start_header_id|>system<|end_header_id|>\n\n"
    dates = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
    qwen = (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
        "assistant.<|im_end|>\n"
    )
    if messages[0]["role"] == "system":
        return text.replace(dates, "")
    return text.replace(start + dates + "<|eot_id|>", "").replace(qwen, "")


def here(program, template, tokenizer, dialogs, folder):
    lines = folder / "dialogs.jsonl"
    lines.write_text("".join(json.dumps({"messages": m}) + "\n" for m in dialogs))
    tokens = folder / "dialogs.h5"
    subprocess.run(
        [
            program,
            "--tokenizer",
            tokenizer,
            "--template",
            template,
            "--val-fraction",
            "0",
            "-o",
            tokens,
            lines,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with h5py.File(tokens) as file:
        group = file["train"]
        ids, mask = group["tokens"][:].tolist(), group["loss_mask"][:].tolist()
        offsets = group["document_offsets"][:].tolist()
    return [(ids[a:b], mask[a:b]) for a, b in zip(offsets, offsets[1:])]


def check(name, dialogs, ours, theirs):
    wrong = [i for i in range(len(dialogs)) if ours[i] != theirs[i]]
    print(f"{name:32} {len(dialogs)} conversations: {len(wrong)} differ", flush=True)
    for i in wrong[:5]:
        print(f"    {dialogs[i]}\n      ours   {ours[i]}\n      theirs {theirs[i]}")
    return len(wrong)


class Test:
    def __init__(self, arguments, folder):
        self.program, self.folder = arguments.programs.resolve() / "prepare-data", folder
        self.templates = arguments.llama_cpp / "models/templates" if arguments.llama_cpp else None
        self.dialogs, self.compared, self.differences = list(conversations()), 0, 0

    def check(self, name, ours, reference):
        theirs = [reference(dialog) for dialog in self.dialogs]
        self.compared += 1
        self.differences += check(name, self.dialogs, ours, theirs)

    def check_all(self, name, template, end, begin, published):
        """`name` of the tokenizer, and `published` of the template."""
        tokenizer = published_tokenizers.tokenizer_of(name)
        if not tokenizer:
            return
        file = self.folder / f"{name}.json"
        file.write_text(tokenizer.text)
        ours = here(self.program, template, file, self.dialogs, self.folder)
        if name == "llama3":
            self.check("llama3: ChatFormat", ours, with_chat_format)
        if self.templates:
            there = Tokenizer.from_str(tokenizer.text)
            self.check(
                f"{template}: {published}",
                ours,
                with_template(self.templates / f"{published}.jinja", there, end, begin),
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--llama-cpp", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        test = Test(arguments, pathlib.Path(folder))
        test.check_all(
            "llama3",
            "llama3",
            "<|eot_id|>",
            "<|begin_of_text|>",
            "meta-llama-Llama-3.1-8B-Instruct",
        )
        test.check_all("qwen2", "chatml", "<|im_end|>", "", "Qwen-Qwen2.5-7B-Instruct")
    if not test.compared:
        print("skipped: neither a published vocabulary nor --llama-cpp")
        sys.exit(SKIPPED)
    sys.exit(test.differences > 0)


if __name__ == "__main__":
    main()
