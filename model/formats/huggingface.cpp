#include "model/formats/huggingface.h"

#include "model/formats/safetensors.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// Tables that old files carry, and the head that a tied model shares with its embedding.
bool is_derived(const ModelConfig& model, const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") ||
         (model.tied_embeddings && name == "lm_head.weight");
}

PublishedConfig read_config(const fs::path& path) {
  const MappedFile file(path);
  return read_huggingface_config(
      {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path.string());
}

}  // namespace

bool is_huggingface_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "config.json", ignored);
}

HuggingFaceModel open_huggingface(const fs::path& folder) {
  HuggingFaceModel opened{read_config(folder / "config.json"), nullptr};
  StoredModel stored = open_safetensors(folder);
  const ModelConfig& model = opened.config.model;
  const int64_t wanted = mapped_tensor_count(model);
  check(int64_t(stored.tensors.size()) >= wanted,
        "{}: it holds {} tensors, a model of its config.json has {}", stored.where,
        stored.tensors.size(), wanted);
  opened.weights = std::make_unique<FileWeights>(
      std::move(stored), tensor_map(model, kHuggingFaceNames, false),
      [&model](const std::string& name) { return is_derived(model, name); });
  return opened;
}

uint64_t write_huggingface(const fs::path& folder, const ModelConfig& model,
                           const SpecialTokens& tokens, const WeightSource& source,
                           const SafetensorsOptions& options, const WriteProgress& progress) {
  write_text_file(folder / "config.json", huggingface_config(model, tokens, options.type));
  write_text_file(folder / "generation_config.json", huggingface_generation_config(tokens));
  return write_safetensors(folder, source, tensor_map(model, kHuggingFaceNames, false), options,
                           progress);
}

}  // namespace tessera
