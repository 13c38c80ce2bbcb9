#include "model/formats/safetensors_writer.h"

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

using Shard = std::span<const MappedTensor>;

// The tensors in their order, a new shard where the next one would not fit.
std::vector<Shard> make_shards(std::span<const MappedTensor> map,
                               const SafetensorsOptions& options) {
  std::vector<Shard> shards;
  size_t begin = 0;
  uint64_t held = 0;
  for (size_t i = 0; i < map.size(); ++i) {
    const uint64_t bytes = written_bytes(map[i], options.type);
    if (i > begin && held + bytes > options.max_shard_bytes) {
      shards.push_back(map.subspan(begin, i - begin));
      begin = i;
      held = 0;
    }
    held += bytes;
  }
  shards.push_back(map.subspan(begin));
  return shards;
}

const char* dtype_of_file(StoredType type) {
  switch (type) {
    case StoredType::f32:
      return "F32";
    case StoredType::f16:
      return "F16";
    case StoredType::bf16:
      return "BF16";
    case StoredType::q8_0:
      break;
  }
  fail("safetensors holds f32, f16 or bf16, not {}", name_of(type));
}

// Length and header; padded, so that the tensors begin at a multiple of 8.
std::string header_of(Shard shard, StoredType type) {
  ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};  // without it transformers refuses the file
  uint64_t offset = 0;
  for (const MappedTensor& tensor : shard) {
    const uint64_t end = offset + written_bytes(tensor, type);
    header[tensor.name] = {
        {"dtype", dtype_of_file(type)},
        {"shape", std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end())},
        {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text;
}

uint64_t write_shard(const fs::path& path, const WeightSource& source, Shard shard, StoredType type,
                     const WriteProgress& progress) {
  File file = File::create(path);
  const std::string header = header_of(shard, type);
  write_bytes(file, 0, std::as_bytes(std::span(header)));
  uint64_t offset = header.size();
  for (const MappedTensor& tensor : shard) {
    write_tensor(file, offset, source, tensor, type, progress);
    offset += written_bytes(tensor, type);
  }
  file.sync();
  file.close();
  return offset - header.size();
}

}  // namespace

uint64_t write_safetensors(const fs::path& folder, const WeightSource& source,
                           const std::vector<MappedTensor>& map, const SafetensorsOptions& options,
                           const WriteProgress& progress) {
  const std::vector<Shard> shards = make_shards(map, options);
  if (shards.size() == 1)
    return write_shard(folder / "model.safetensors", source, shards[0], options.type, progress);
  ordered_json index;
  uint64_t bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    bytes += write_shard(folder / name, source, shards[i], options.type, progress);
    for (const MappedTensor& tensor : shards[i]) index["weight_map"][tensor.name] = name;
  }
  index["metadata"] = {{"total_size", bytes}};
  write_text_file(folder / "model.safetensors.index.json", index.dump(2) + "\n");
  return bytes;
}

}  // namespace tessera
