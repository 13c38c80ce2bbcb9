#include "train/convert/read_weights.h"

#include <map>
#include <string_view>

namespace tessera {

void read_weights(const WeightSource& source, std::span<const NamedTensor> tensors,
                  const std::string& where) {
  std::map<std::string_view, const WeightInfo*> by_name;
  for (const WeightInfo& info : source.weights()) by_name[info.name] = &info;
  for (const auto& [name, tensor] : tensors) {
    const auto found = by_name.find(name);
    check(found != by_name.end(), "{}: it has no weight {}: it is of another model", where, name);
    check(found->second->shape == tensor.shape(),
          "{}: weight {} has shape {}, the model needs {}: use its sizes", where, name,
          found->second->shape, tensor.shape());
    read_weight(source, *found->second, tensor);
    by_name.erase(found);
  }
  check(by_name.empty(), "{}: the model has no weight {}: it is of another model", where,
        by_name.empty() ? "" : by_name.begin()->first);
}

}  // namespace tessera
