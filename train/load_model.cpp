#include "train/load_model.h"

#include "train/convert/model_source.h"
#include "train/convert/read_weights.h"
#include "train/setup.h"

namespace tessera {

LoadedModel load_model(Context& ctx, const std::filesystem::path& path, DType dtype,
                       const std::vector<std::string>& overrides) {
  ModelSource source = open_model(path);
  override_config(source.config, overrides, path.string());
  ComputeOptions options = compute_options(source.config);
  options.dtype = dtype;
  // cuDNN's plans are for one length each, and for one device.
  if (options.attention == AttentionBackend::cudnn) options.attention = AttentionBackend::flash;
  Llama model(ctx, source.config.model, options);
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : model.parameters())
    tensors.push_back({parameter.name, parameter.value()});
  read_weights(*source.weights, tensors, source.path.string());
  return {std::move(source.config), std::move(source.tokenizer),
          std::move(source.tokenizer_problem), std::move(model), source.step};
}

}  // namespace tessera
