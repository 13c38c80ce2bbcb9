#include "train/checkpoint/writer.h"

#include <set>

#include "core/files/file.h"
#include "train/checkpoint/checksum.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/tensor_file.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
namespace files = checkpoint_files;

void check_tensors(std::span<const NamedTensor> tensors, std::span<const StreamedTensor> streamed) {
  std::set<std::string_view> names;
  for (const StreamedTensor& tensor : streamed)
    check(names.insert(tensor.info.name).second, "two tensors have the name {}", tensor.info.name);
  for (const auto& [name, tensor] : tensors) {
    check(!name.empty() && name.front() != '/', "tensor name '{}' is empty or begins with /", name);
    check(names.insert(name).second, "two tensors have the name {}", name);
    check(tensor.defined() && tensor.device() != Device::meta && tensor.is_contiguous(),
          "tensor {} is not a contiguous tensor with data", name);
  }
}

// Writes the text and returns what the file must be.
FileRecord save_text(const fs::path& directory, const char* name, const std::string& text) {
  write_text_file(directory / name, text);
  return {name, text.size(), Checksum::of(std::as_bytes(std::span(text)))};
}

// Compares what the disk holds with what was in memory.
void verify_tensors(const File& file, std::span<const TensorRecord> tensors) {
  for (const TensorRecord& tensor : tensors) {
    check(Checksum::of(file, tensor.offset, tensor.bytes) == tensor.checksum,
          "{}: tensor {} does not read back as it was written; is the disk damaged?",
          file.path().string(), tensor.info.name);
  }
}

}  // namespace

void write_checkpoint(const fs::path& directory, const CheckpointMeta& meta,
                      std::span<const NamedTensor> tensors,
                      std::span<const StreamedTensor> streamed) {
  check_tensors(tensors, streamed);
  Manifest manifest{meta.step, meta.tokens, {}, {}};
  manifest.tensors = write_rank_file(directory, files::kRank0, meta, tensors, streamed);
  verify_tensors(File::open(directory / files::kRank0), manifest.tensors);
  write_master_file(directory, meta, manifest.tensors);
  manifest.files = {describe_file(directory, files::kRank0),
                    describe_file(directory, files::kMaster),
                    save_text(directory, files::kConfig, meta.config_yaml),
                    save_text(directory, files::kTokenizer, meta.tokenizer_json),
                    save_text(directory, files::kState, meta.state_json)};
  for (size_t i = 2; i < manifest.files.size(); ++i) verify_file(directory, manifest.files[i]);
  const std::string text = to_json(manifest);
  write_text_file(directory / files::kManifest, text);
  check(read_text_file(directory / files::kManifest) == text,
        "{} does not read back as it was written; is the disk damaged?",
        (directory / files::kManifest).string());
  sync_directory(directory);
}

}  // namespace tessera
