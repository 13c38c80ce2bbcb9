#include "model/formats/llama2c.h"

#include <array>
#include <cstring>

namespace tessera {
namespace {

constexpr size_t kHeaderInts = 7;

// Hands out the file's floats in their order.
class Floats {
 public:
  Floats(std::span<const std::byte> bytes, const std::string& where)
      : bytes_(bytes), where_(where) {}

  std::span<const std::byte> take(int64_t elements) {
    const auto size = stored_bytes(StoredType::f32, elements);
    check(size && *size <= bytes_.size(),
          "{}: it is shorter than its sizes say: cut off, or no "
          "legacy model of llama2.c",
          where_);
    const auto part = bytes_.first(*size);
    bytes_ = bytes_.subspan(*size);
    return part;
  }
  size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
};

ModelConfig read_config(std::span<const std::byte> file, const std::string& where) {
  std::array<int32_t, kHeaderInts> sizes;
  check(file.size() >= sizeof(sizes), "{}: {} bytes are no model", where, file.size());
  std::memcpy(sizes.data(), file.data(), sizeof(sizes));
  const auto size = [&](size_t index, const char* name, int64_t highest) {
    const int64_t value = sizes[index];
    check(value > 0 && value <= highest, "{}: {} is {}, not between 1 and {}", where, name, value,
          highest);
    return value;
  };
  ModelConfig config;
  config.width = size(0, "dim", ModelConfig::kLargestWidth);
  config.ffn_width = size(1, "hidden_dim", ModelConfig::kLargestWidth);
  config.layers = size(2, "n_layers", ModelConfig::kMostLayers);
  config.heads = size(3, "n_heads", ModelConfig::kMostHeads);
  config.kv_heads = size(4, "n_kv_heads", ModelConfig::kMostHeads);
  config.tied_embeddings = sizes[5] > 0;  // negative: a classifier of its own
  config.vocab_size = std::abs(int64_t{sizes[5]});
  check(config.vocab_size > 0, "{}: vocab_size is 0", where);
  config.context = size(6, "seq_len", INT32_MAX);
  config.norm_eps = 1e-5;  // run.c's
  try {
    config.complete();
  } catch (const Error& error) {
    fail("{}: as {}", where, error.what());
  }
  return config;
}

// The same tensor of every layer.
void take_layers(Floats& floats, const ModelConfig& config, const char* name, const Shape& shape,
                 std::vector<StoredTensor>& tensors) {
  const int64_t elements = shape.elements();
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    tensors.push_back(
        {fmt::format("{}.{}.weight", layer, name), shape, StoredType::f32, floats.take(elements)});
  }
}

std::vector<StoredTensor> take_tensors(Floats& floats, const ModelConfig& config) {
  const int64_t V = config.vocab_size, d = config.width, F = config.ffn_width;
  const int64_t kv = config.kv_heads * config.head_dim;
  std::vector<StoredTensor> tensors;
  const auto take = [&](const char* name, const Shape& shape) {
    tensors.push_back(
        {fmt::format("{}.weight", name), shape, StoredType::f32, floats.take(shape.elements())});
  };
  take(kLlama2cNames.embedding, {V, d});
  take_layers(floats, config, kLlama2cNames.attention_norm, {d}, tensors);
  take_layers(floats, config, kLlama2cNames.q, {d, d}, tensors);
  take_layers(floats, config, kLlama2cNames.k, {kv, d}, tensors);
  take_layers(floats, config, kLlama2cNames.v, {kv, d}, tensors);
  take_layers(floats, config, kLlama2cNames.attention_output, {d, d}, tensors);
  take_layers(floats, config, kLlama2cNames.mlp_norm, {d}, tensors);
  take_layers(floats, config, kLlama2cNames.gate, {F, d}, tensors);
  take_layers(floats, config, kLlama2cNames.down, {d, F}, tensors);
  take_layers(floats, config, kLlama2cNames.up, {F, d}, tensors);
  take(kLlama2cNames.final_norm, {d});
  floats.take(config.context * config.head_dim);  // tables of cos and sin, [context, D/2] each
  if (!config.tied_embeddings) take(kLlama2cNames.head, {V, d});
  return tensors;
}

}  // namespace

Llama2cModel open_llama2c(const std::filesystem::path& path) {
  const auto file = std::make_shared<MappedFile>(path);
  const std::string where = path.string();
  Llama2cModel opened{.config = read_config(file->bytes(), where)};
  Floats floats(file->bytes().subspan(kHeaderInts * sizeof(int32_t)), where);
  StoredModel stored{where, {file}, take_tensors(floats, opened.config)};
  check(floats.left() == 0, "{}: {} bytes after its last weight: no legacy model of llama2.c",
        where, floats.left());
  opened.weights = std::make_unique<FileWeights>(std::move(stored),
                                                 tensor_map(opened.config, kLlama2cNames, true),
                                                 [](const std::string&) { return false; });
  return opened;
}

}  // namespace tessera
