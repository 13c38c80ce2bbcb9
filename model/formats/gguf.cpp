#include "model/formats/gguf.h"

#include <cstring>

#include "model/formats/gguf_layout.h"
#include "model/formats/gguf_metadata.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// The rows of queries and keys that llama.cpp's architecture llama turns are neighbours; the others
// turn halves, as here.
std::vector<MappedTensor> gguf_map(const ModelConfig& model) {
  const Architecture architecture = architecture_of(model);
  const bool neighbours =
      architecture == Architecture::llama || architecture == Architecture::mistral;
  return tensor_map(model, kGgufNames, neighbours);
}

}  // namespace

bool is_gguf_file(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  std::array<std::byte, sizeof(gguf::kMagic)> begin{};
  return File::open(path).read_at(0, begin) == begin.size() &&
         std::memcmp(begin.data(), gguf::kMagic, begin.size()) == 0;
}

GgufModel open_gguf(const fs::path& path) {
  const auto mapped = std::make_shared<MappedFile>(path);
  const std::string where = path.string();
  GgufFile file = parse_gguf(mapped->bytes(), where);
  GgufModel opened{.config = read_gguf_config(file, where)};
  const ModelConfig& model = opened.config.model;
  if (const auto own = file.metadata.find(kOwnTokenizerKey); own != file.metadata.end()) {
    const std::string_view* text = std::get_if<std::string_view>(&own->second);
    check(text != nullptr, "{}: {}: it is not a text", where, kOwnTokenizerKey);
    opened.own_tokenizer = *text;
  }
  const int64_t wanted = mapped_tensor_count(model);
  check(int64_t(file.tensors.size()) >= wanted,
        "{}: it holds {} tensors, a model of its metadata has {}", where, file.tensors.size(),
        wanted);
  opened.weights = std::make_unique<FileWeights>(
      StoredModel{where, {mapped}, std::move(file.tensors)}, gguf_map(model),
      [](const std::string& name) { return name == kRopeFactors; });
  return opened;
}

uint64_t write_gguf_model(const fs::path& path, const ModelConfig& model,
                          const WeightSource& source, const GgufOptions& options,
                          const WriteProgress& progress) {
  GgufMetadata metadata = gguf_config(model, options.name);
  metadata.insert(metadata.end(), options.tokenizer.begin(), options.tokenizer.end());
  if (!options.own_tokenizer.empty())
    metadata.emplace_back(kOwnTokenizerKey, options.own_tokenizer);
  std::vector<GgufExtra> extras;
  if (std::vector<float> factors = rope_factors(model); !factors.empty())
    extras.push_back({kRopeFactors, std::move(factors)});
  return write_gguf(path, metadata, extras, source, gguf_map(model), options.type, progress);
}

}  // namespace tessera
