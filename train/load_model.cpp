#include "train/load_model.h"

#include "kernels/elementwise/kernel.h"
#include "train/checkpoint/checkpoint.h"
#include "train/setup.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

fs::path resolve(const fs::path& path) {
  check(fs::exists(path), "{}: does not exist; give a run's folder or a checkpoint", path.string());
  if (fs::exists(path / "manifest.json")) return path;
  const fs::path folder = fs::exists(path / "checkpoints") ? path / "checkpoints" : path;
  const LatestCheckpoint latest = find_latest_checkpoint(folder);
  if (latest.directory) return *latest.directory;
  check(latest.damaged.empty(), "{}: {}", folder.string(),
        latest.damaged.empty() ? "" : latest.damaged.front());
  fail("{}: holds no checkpoint", folder.string());
}

void read_parameters(Context& ctx, const CheckpointReader& reader, const Llama& model) {
  for (const Parameter& parameter : model.parameters()) {
    const Tensor& value = parameter.value();
    if (value.dtype() == DType::f32) {
      reader.read("model/" + parameter.name, value);
    } else {
      const Tensor stored = ctx.empty(value.shape(), DType::f32, MemoryTag::workspace);
      reader.read("model/" + parameter.name, stored);
      convert(ctx, value, stored);
    }
  }
}

}  // namespace

LoadedModel load_model(Context& ctx, const fs::path& path, DType dtype) {
  const fs::path directory = resolve(path);
  const CheckpointReader reader(directory, Verify::as_read);
  const ConfigText text{(directory / "config.yaml").string(), reader.meta().config_yaml};
  RunConfig config = read_run_config(text, {}, ConfigUse::plan);
  ComputeOptions options = compute_options(config);
  options.dtype = dtype;
  Llama model(ctx, config.model, options);
  read_parameters(ctx, reader, model);
  auto tokenizer =
      restore_tokenizer(reader.meta().tokenizer_json, (directory / "tokenizer.json").string());
  return {std::move(config), std::move(tokenizer), std::move(model), reader.meta().step};
}

}  // namespace tessera
