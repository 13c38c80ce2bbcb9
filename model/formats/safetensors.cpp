#include "model/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/files/file.h"
#include "model/formats/json_object.h"
#include "model/formats/one_line.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;  // the limit of the reference library

constexpr std::pair<const char*, StoredType> kTypes[] = {
    {"F32", StoredType::f32}, {"F16", StoredType::f16}, {"BF16", StoredType::bf16}};

std::string_view header_of(std::span<const std::byte> file, const std::string& where) {
  uint64_t length = 0;
  check(file.size() >= kLengthBytes, "{}: {} bytes are no safetensors file", where, file.size());
  std::memcpy(&length, file.data(), kLengthBytes);
  check(length <= kLongestHeader && length <= file.size() - kLengthBytes,
        "{}: its header claims {} bytes, the file has {}: it is cut off or no safetensors file",
        where, length, file.size());
  return {reinterpret_cast<const char*>(file.data()) + kLengthBytes, size_t(length)};
}

// Like parse_json_object(), but a name that comes twice is an error.
json parse_header(std::string_view header, const std::string& where) {
  std::set<std::string> names;
  bool unique = true, printable = true;
  const auto watch = [&](int depth, json::parse_event_t event, json& key) {
    if (depth == 1 && event == json::parse_event_t::key) {
      const std::string& name = key.get_ref<const std::string&>();
      printable = printable && is_one_line(name);
      unique = names.insert(name).second && unique;
    }
    return true;
  };
  json parsed = json::parse(header, watch, false);
  check(!parsed.is_discarded() && parsed.is_object(),
        "{}: its header is not a JSON object: the file is damaged", where);
  check(printable, "{}: the name of a tensor has a control character", where);
  check(unique, "{}: two tensors of its header have one name", where);
  return parsed;
}

StoredType type_of(const JsonObject& entry) {
  const std::string name = entry.text("dtype").value_or("");
  for (const auto& [text, type] : kTypes)
    if (name == text) return type;
  entry.fail_at("dtype", "'{}' is not supported; F32, F16 and BF16 are", name);
}

StoredTensor tensor_of(const std::string& name, const JsonObject& entry,
                       std::span<const std::byte> data) {
  constexpr int64_t kMost = int64_t{1} << 53;
  const std::vector<int64_t> shape = entry.integers("shape", 0, kMost);
  const std::vector<int64_t> offsets = entry.integers("data_offsets", 0, int64_t(data.size()));
  if (shape.size() > Shape::kMaxRank)
    entry.fail_at("shape", "{} dimensions; at most {}", shape.size(), Shape::kMaxRank);
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    entry.fail_at("data_offsets", "is not a begin and an end");
  const StoredType type = type_of(entry);
  const auto elements = element_count(shape);
  const auto bytes = elements ? stored_bytes(type, *elements) : std::nullopt;
  if (!bytes || *bytes != size_t(offsets[1] - offsets[0])) {
    entry.fail_at("data_offsets", "{} bytes do not hold {} of shape [{}]", offsets[1] - offsets[0],
                  name_of(type), fmt::join(shape, ", "));
  }
  return {name, Shape(shape), type, data.subspan(size_t(offsets[0]), *bytes)};
}

void check_no_holes(std::span<const StoredTensor> tensors, std::span<const std::byte> data,
                    const std::string& where) {
  const std::byte* end = data.data();
  for (const StoredTensor& tensor : tensors) {
    check(tensor.bytes.data() == end, "{}: tensor {} begins at {} where the one before ends at {}",
          where, tensor.name, tensor.bytes.data() - data.data(), end - data.data());
    end = tensor.bytes.data() + tensor.bytes.size();
  }
  check(end == data.data() + data.size(), "{}: {} bytes after its last tensor", where,
        data.data() + data.size() - end);
}

void append_file(StoredModel& model, const fs::path& path) {
  const auto file = std::make_shared<MappedFile>(path);
  for (StoredTensor& tensor : parse_safetensors(file->bytes(), path.string()))
    model.tensors.push_back(std::move(tensor));
  model.files.push_back(file);
}

// The file of each tensor; names of files stay within the folder.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  const json parsed = parse_json_object(text, path.string());
  const auto found = parsed.find("weight_map");
  check(found != parsed.end() && found->is_object(), "{}: weight_map is not an object",
        path.string());
  std::map<std::string, std::string> index;
  for (const auto& [tensor, name] : found->items()) {
    check(is_one_line(tensor), "{}: a key of weight_map has control characters", path.string());
    check(name.is_string() && is_one_line(name.get_ref<const std::string&>()),
          "{}: weight_map.{} is not a file's name", path.string(), tensor);
    const fs::path shard = name.get<std::string>();
    check(shard.has_filename() && shard == shard.filename() && shard != ".." && shard != ".",
          "{}: weight_map.{}: '{}' is not the name of a file beside it", path.string(), tensor,
          shard.string());
    index[tensor] = shard.string();
  }
  return index;
}

StoredModel open_shards(const fs::path& folder, const fs::path& index_path) {
  StoredModel model{folder.string(), {}, {}};
  const std::map<std::string, std::string> index = read_index(index_path);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index) shards.insert(shard);
  for (const std::string& shard : shards) {
    const size_t before = model.tensors.size();
    append_file(model, folder / shard);
    for (size_t i = before; i < model.tensors.size(); ++i) {
      const auto entry = index.find(model.tensors[i].name);
      check(entry != index.end() && entry->second == shard,
            "{}: tensor {} of {} is not in it, or in another file", index_path.string(),
            model.tensors[i].name, shard);
    }
  }
  check(model.tensors.size() == index.size(), "{}: names {} tensors, its files hold {}",
        index_path.string(), index.size(), model.tensors.size());
  return model;
}

}  // namespace

std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> file,
                                            const std::string& where) {
  const std::string_view header = header_of(file, where);
  const std::span<const std::byte> data = file.subspan(kLengthBytes + header.size());
  const json parsed = parse_header(header, where);
  std::vector<StoredTensor> tensors;
  for (const auto& [name, entry] : parsed.items()) {
    if (name == "__metadata__") continue;
    check(entry.is_object(), "{}: {} is not a tensor's description", where, name);
    tensors.push_back(tensor_of(name, JsonObject(entry, where, name + "."), data));
  }
  std::ranges::sort(tensors, [](const StoredTensor& a, const StoredTensor& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  check_no_holes(tensors, data, where);
  return tensors;
}

StoredModel open_safetensors(const fs::path& folder) {
  const fs::path index = folder / "model.safetensors.index.json";
  const fs::path single = folder / "model.safetensors";
  if (fs::exists(single)) {
    StoredModel model{single.string(), {}, {}};
    append_file(model, single);
    return model;
  }
  check(fs::exists(index), "{}: it has neither model.safetensors nor {}", folder.string(),
        index.filename().string());
  return open_shards(folder, index);
}

}  // namespace tessera
