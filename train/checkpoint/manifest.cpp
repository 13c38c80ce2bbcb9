#include "train/checkpoint/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/files/file.h"
#include "train/checkpoint/checksum.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFormatName = "tessera-checkpoint";
constexpr int kFormatVersion = 1;
constexpr const char* kOwnChecksum = "manifest_xxh64";

std::string hex(uint64_t checksum) {
  return fmt::format("{:016x}", checksum);
}

uint64_t from_hex(const json& text) {
  return std::stoull(text.get<std::string>(), nullptr, 16);
}

DType dtype_named(const std::string& name) {
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::e4m3, DType::e5m2,
                      DType::i32, DType::i64, DType::u8})
    if (name_of(dtype) == name) return dtype;
  fail("dtype {} is not known", name);
}

// Of the text without its own checksum; the keys of a json object are sorted.
std::string checksum_of(const json& manifest) {
  const std::string text = manifest.dump();
  return hex(Checksum::of(std::as_bytes(std::span(text))));
}

json file_to_json(const FileRecord& file) {
  return {{"name", file.name}, {"bytes", file.bytes}, {"xxh64", hex(file.checksum)}};
}

json tensor_to_json(const TensorRecord& tensor) {
  return {{"name", tensor.info.name},
          {"shape", std::vector<int64_t>(tensor.info.shape.begin(), tensor.info.shape.end())},
          {"dtype", name_of(tensor.info.dtype)},
          {"file", tensor.file},
          {"offset", tensor.offset},
          {"bytes", tensor.bytes},
          {"xxh64", hex(tensor.checksum)}};
}

FileRecord file_from_json(const json& file) {
  return {file.at("name"), file.at("bytes"), from_hex(file.at("xxh64"))};
}

TensorRecord tensor_from_json(const json& tensor) {
  const std::vector<int64_t> dims = tensor.at("shape");
  return {{tensor.at("name"), Shape(dims), dtype_named(tensor.at("dtype"))},
          tensor.at("file"),
          tensor.at("offset"),
          tensor.at("bytes"),
          from_hex(tensor.at("xxh64"))};
}

Manifest from_json(json text) {
  check(text.value("format", "") == kFormatName, "it is not the manifest of a checkpoint");
  const int version = text.at("format_version");
  check(version == kFormatVersion, "its format version is {}, this program reads version {}",
        version, kFormatVersion);
  const std::string checksum = text.at(kOwnChecksum);
  text.erase(kOwnChecksum);
  check(checksum_of(text) == checksum, "its checksum does not match: the file is damaged");
  Manifest manifest{text.at("step"), text.at("tokens"), {}, {}};
  for (const json& file : text.at("files")) manifest.files.push_back(file_from_json(file));
  for (const json& tensor : text.at("tensors"))
    manifest.tensors.push_back(tensor_from_json(tensor));
  return manifest;
}

void verify_size(const fs::path& directory, const FileRecord& record) {
  const uint64_t bytes = File::open(directory / record.name).size();
  check(bytes == record.bytes, "{} has {} bytes, {} were saved: the checkpoint is damaged",
        (directory / record.name).string(), bytes, record.bytes);
}

}  // namespace

std::string to_json(const Manifest& manifest) {
  json text{{"format", kFormatName},  {"format_version", kFormatVersion},
            {"step", manifest.step},  {"tokens", manifest.tokens},
            {"files", json::array()}, {"tensors", json::array()}};
  for (const FileRecord& file : manifest.files) text["files"].push_back(file_to_json(file));
  for (const TensorRecord& tensor : manifest.tensors)
    text["tensors"].push_back(tensor_to_json(tensor));
  text[kOwnChecksum] = checksum_of(text);
  return text.dump(1);
}

Manifest read_manifest(const fs::path& directory) {
  const fs::path path = directory / checkpoint_files::kManifest;
  std::error_code ignored;
  check(fs::exists(directory, ignored), "checkpoint {} does not exist", directory.string());
  check(fs::exists(path, ignored),
        "{} is not a checkpoint: it has no {}; give a step_N directory or latest",
        directory.string(), checkpoint_files::kManifest);
  const std::string text = read_text_file(path);
  try {
    return from_json(json::parse(text));
  } catch (const json::exception&) {
    fail("{}: it is not the JSON that was saved: the checkpoint is damaged", path.string());
  } catch (const std::exception& error) {
    fail("{}: {}", path.string(), error.what());
  }
}

FileRecord describe_file(const fs::path& directory, const std::string& name) {
  const File file = File::open(directory / name);
  const uint64_t bytes = file.size();
  return {name, bytes, Checksum::of(file, 0, bytes)};
}

void verify_file(const fs::path& directory, const FileRecord& record) {
  verify_size(directory, record);
  check(describe_file(directory, record.name).checksum == record.checksum,
        "{}: checksum does not match: the checkpoint is damaged",
        (directory / record.name).string());
}

void verify_files(const fs::path& directory, const Manifest& manifest) {
  for (const FileRecord& file : manifest.files) verify_size(directory, file);
  for (const FileRecord& file : manifest.files) verify_file(directory, file);
}

}  // namespace tessera
