#include "train/load_model.h"

#include "train/convert/read_weights.h"
#include "train/convert/special_tokens.h"
#include "train/setup.h"

namespace tessera {

LoadedModel load_model(Context& ctx, const std::filesystem::path& path, DType dtype,
                       const std::vector<std::string>& overrides) {
  return load_model(ctx, open_model(path), dtype, overrides);
}

LoadedModel load_model(Context& ctx, ModelSource source, DType dtype,
                       const std::vector<std::string>& overrides) {
  override_config(source.config, overrides, source.path.string());
  ComputeOptions options = compute_options(source.config);
  options.dtype = dtype;
  // cuDNN's plans are for one length each, and for one device.
  if (options.attention == AttentionBackend::cudnn) options.attention = AttentionBackend::flash;
  Llama model(ctx, source.config.model, options);
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : model.parameters())
    tensors.push_back({parameter.name, parameter.value()});
  read_weights(*source.weights, tensors, source.path.string());
  std::vector<int64_t> end_tokens = special_tokens(source).end;
  return {std::move(source.config),
          std::move(source.tokenizer),
          std::move(source.tokenizer_problem),
          std::move(end_tokens),
          std::move(model),
          source.step};
}

}  // namespace tessera
