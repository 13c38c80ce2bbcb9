#include "train/convert/tokenizer_files.h"

#include "core/files/file.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// Of tokenizers that have no published form: Tokenizer::to_json().
constexpr const char* kOwnFile = "tessera_tokenizer.json";

constexpr const char* kCarriedFiles[] = {"tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "tokenizer.model",
                                         "chat_template.jinja",
                                         kOwnFile};

}  // namespace

std::unique_ptr<Tokenizer> read_tokenizer_files(const fs::path& folder) {
  if (const fs::path own = folder / kOwnFile; fs::exists(own))
    return restore_tokenizer(read_text_file(own), own.string());
  const bool published =
      fs::exists(folder / "tokenizer.json") || fs::exists(folder / "tokenizer.model");
  check(published, "{}: it has neither tokenizer.json nor tokenizer.model", folder.string());
  return load_tokenizer(folder);
}

void write_tokenizer_files(const ModelSource& source, const fs::path& folder) {
  bool carried = false;
  if (source.form == ModelForm::huggingface) {
    for (const char* name : kCarriedFiles) {
      if (!fs::exists(source.path / name)) continue;
      write_text_file(folder / name, read_text_file(source.path / name));
      carried = true;
    }
  }
  if (carried || !source.tokenizer) return;
  const std::vector<TextFile> files = source.tokenizer->published_files();
  for (const TextFile& file : files) write_text_file(folder / file.name, file.contents);
  if (files.empty()) write_text_file(folder / kOwnFile, source.tokenizer->to_json());
}

}  // namespace tessera
