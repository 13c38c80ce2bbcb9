#include "train/init_from.h"

#include "train/convert/model_source.h"
#include "train/convert/read_weights.h"

namespace tessera {

void check_tokenizer_of(const std::filesystem::path& path, const Loader& loader) {
  const ModelSource source = open_model(path);
  if (!source.tokenizer) return;
  const auto tokenizer = restore_tokenizer(loader.tokenizer_json(), "data.sources");
  check(same_tokens(*source.tokenizer, *tokenizer),
        "model.init_from: {} was trained with tokenizer {} ({}), but the data was prepared with "
        "another ({}); prepare it with the model's tokenizer",
        path.string(), source.tokenizer->name(), source.tokenizer->hash(), loader.tokenizer_hash());
}

void read_initial_weights(Context& ctx, const std::filesystem::path& path, AdamW& optimizer) {
  const ModelSource source = open_model(path);
  constexpr std::string_view kModel = "model/";
  std::vector<NamedTensor> masters;
  for (const auto& [name, tensor] : optimizer.state()) {
    if (name.starts_with(kModel)) masters.push_back({name.substr(kModel.size()), tensor});
  }
  read_weights(*source.weights, masters, source.path.string());
  optimizer.copy_working(ctx);
}

}  // namespace tessera
