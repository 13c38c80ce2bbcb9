#include "train/convert/model_source.h"

#include "core/files/file.h"
#include "model/formats/huggingface.h"
#include "train/convert/checkpoint_weights.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// Of tokenizers that have no published form.
constexpr const char* kOwnTokenizer = "tessera_tokenizer.json";

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
  source.config = read_run_config(text, {}, ConfigUse::plan);
  source.step = meta.step;
  if (!meta.tokenizer_json.empty())
    source.tokenizer =
        restore_tokenizer(meta.tokenizer_json, (source.path / "tokenizer.json").string());
  source.weights = std::make_unique<CheckpointWeights>(std::move(reader));
  return source;
}

ModelSource open_huggingface_source(const fs::path& path) {
  ModelSource source{.form = ModelForm::huggingface, .path = path};
  HuggingFaceModel model = open_huggingface(path);
  source.config.model = model.config.model;
  source.tokens = model.config.tokens;
  source.weights = std::move(model.weights);
  if (const fs::path own = path / kOwnTokenizer; fs::exists(own))
    source.tokenizer = restore_tokenizer(read_text_file(own), own.string());
  return source;
}

}  // namespace

std::string_view name_of(ModelForm form) {
  return form == ModelForm::checkpoint ? "checkpoint" : "huggingface";
}

ModelSource open_model(const fs::path& path) {
  check(fs::exists(path),
        "{}: does not exist; give a run's folder, a checkpoint or a model's folder", path.string());
  if (is_huggingface_folder(path)) return open_huggingface_source(path);
  return open_checkpoint(path);
}

}  // namespace tessera
