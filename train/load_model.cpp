#include "train/load_model.h"

#include <map>

#include "train/convert/model_source.h"
#include "train/setup.h"

namespace tessera {

void read_weights(const WeightSource& source, const Llama& model, const std::string& where) {
  std::map<std::string_view, const WeightInfo*> by_name;
  for (const WeightInfo& info : source.weights()) by_name[info.name] = &info;
  for (const Parameter& parameter : model.parameters()) {
    const auto found = by_name.find(parameter.name);
    check(found != by_name.end(), "{}: it has no weight {}: it is of another model", where,
          parameter.name);
    check(found->second->shape == parameter.value().shape(),
          "{}: weight {} has shape {}, the model needs {}: use its sizes", where, parameter.name,
          found->second->shape, parameter.value().shape());
    read_weight(source, *found->second, parameter.value());
    by_name.erase(found);
  }
  check(by_name.empty(), "{}: the model has no weight {}: it is of another model", where,
        by_name.empty() ? "" : by_name.begin()->first);
}

LoadedModel load_model(Context& ctx, const std::filesystem::path& path, DType dtype) {
  ModelSource source = open_model(path);
  ComputeOptions options = compute_options(source.config);
  options.dtype = dtype;
  // cuDNN's plans are for one length each, and for one device.
  if (options.attention == AttentionBackend::cudnn) options.attention = AttentionBackend::flash;
  Llama model(ctx, source.config.model, options);
  read_weights(*source.weights, model, source.path.string());
  return {std::move(source.config), std::move(source.tokenizer),
          std::move(source.tokenizer_problem), std::move(model), source.step};
}

}  // namespace tessera
