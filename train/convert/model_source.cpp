#include "train/convert/model_source.h"

#include <algorithm>

#include "model/formats/gguf.h"
#include "model/formats/huggingface.h"
#include "model/formats/llama2c.h"
#include "train/convert/checkpoint_weights.h"
#include "train/convert/special_tokens.h"
#include "train/convert/tokenizer_files.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct FormRow {
  ModelForm form;
  const char* name;
};
constexpr FormRow kForms[] = {{ModelForm::huggingface, "huggingface"},
                              {ModelForm::gguf, "gguf"},
                              {ModelForm::checkpoint, "checkpoint"},
                              {ModelForm::llama2c, "llama2c"}};

fs::path checkpoint_in(const fs::path& path) {
  if (fs::exists(path / "manifest.json")) return path;
  const fs::path folder = fs::exists(path / "checkpoints") ? path / "checkpoints" : path;
  const LatestCheckpoint latest = find_latest_checkpoint(folder);
  if (latest.directory) return *latest.directory;
  check(latest.damaged.empty(), "{}: {}", folder.string(),
        latest.damaged.empty() ? "" : latest.damaged.front());
  fail("{}: holds neither a checkpoint nor a config.json", folder.string());
}

ModelSource open_checkpoint(const fs::path& path) {
  ModelSource source{.form = ModelForm::checkpoint, .path = checkpoint_in(path)};
  CheckpointReader reader(source.path, Verify::as_read);
  const CheckpointMeta& meta = reader.meta();
  const ConfigText text{(source.path / "config.yaml").string(), meta.config_yaml};
  source.config = read_run_config(text, {}, ConfigUse::stored);
  source.step = meta.step;
  source.tokens = special_tokens_of_state(meta.state_json);
  if (meta.tokenizer_json.empty()) {
    source.tokenizer_problem =
        fmt::format("{}: it was converted without a tokenizer", source.path.string());
  } else {
    source.tokenizer =
        restore_tokenizer(meta.tokenizer_json, (source.path / "tokenizer.json").string());
  }
  source.weights = std::make_unique<CheckpointWeights>(std::move(reader));
  return source;
}

ModelSource open_huggingface_source(const fs::path& path) {
  ModelSource source{.form = ModelForm::huggingface, .path = path};
  HuggingFaceModel model = open_huggingface(path);
  source.config.model = model.config.model;
  source.tokens = model.config.tokens;
  source.weights = std::move(model.weights);
  try {
    source.tokenizer = read_tokenizer_files(path);
  } catch (const Error& error) {
    source.tokenizer_problem = error.what();
  }
  return source;
}

ModelSource open_gguf_source(const fs::path& path) {
  ModelSource source{.form = ModelForm::gguf, .path = path};
  GgufModel model = open_gguf(path);
  source.config.model = model.config.model;
  source.tokens = model.config.tokens;
  source.weights = std::move(model.weights);
  if (!model.own_tokenizer.empty()) {
    source.tokenizer = restore_tokenizer(model.own_tokenizer, path.string());
  } else {
    source.tokenizer_problem = fmt::format(
        "{}: tokenizers of GGUF files are not read; convert the Hugging Face folder it was made of",
        path.string());
  }
  return source;
}

ModelSource open_llama2c_source(const fs::path& path) {
  ModelSource source{.form = ModelForm::llama2c, .path = path};
  check(path.extension() == ".bin", "{}: it is neither a GGUF file nor a .bin of llama2.c",
        path.string());
  Llama2cModel model = open_llama2c(path);
  source.config.model = model.config;
  source.tokenizer_problem = fmt::format("{}: the file has no tokenizer", path.string());
  source.weights = std::move(model.weights);
  return source;
}

}  // namespace

std::string_view name_of(ModelForm form) {
  return std::ranges::find(kForms, form, &FormRow::form)->name;
}

std::vector<std::string> model_forms_written() {
  std::vector<std::string> names;
  for (const FormRow& row : kForms)
    if (row.form != ModelForm::llama2c) names.emplace_back(row.name);
  return names;
}

ModelForm model_form_named(std::string_view name) {
  for (const FormRow& row : kForms)
    if (name == row.name) return row.form;
  fail("there is no form {}; choose one of {}", name, fmt::join(model_forms_written(), ", "));
}

ModelSource open_model(const fs::path& path) {
  check(fs::exists(path),
        "{}: does not exist; give a run's folder, a checkpoint, a Hugging Face folder, a GGUF file "
        "or a .bin of llama2.c",
        path.string());
  if (is_huggingface_folder(path)) return open_huggingface_source(path);
  if (fs::is_directory(path)) return open_checkpoint(path);
  return is_gguf_file(path) ? open_gguf_source(path) : open_llama2c_source(path);
}

void give_tokenizer(ModelSource& source, const fs::path& path) {
  check(!source.tokenizer, "--tokenizer: {} carries its own; leave the option out",
        source.path.string());
  source.tokenizer = load_tokenizer(path);
  source.tokenizer_problem.clear();
  check(
      source.tokenizer->vocabulary_size() <= source.config.model.vocab_size,
      "--tokenizer: {} has {} ids, but {} is a model of {}; give the tokenizer it was trained with",
      path.string(), source.tokenizer->vocabulary_size(), source.path.string(),
      source.config.model.vocab_size);
}

}  // namespace tessera
