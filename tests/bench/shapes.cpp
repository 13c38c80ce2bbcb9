#include "tests/bench/shapes.h"

#include "model/presets.h"

namespace tessera::bench {
namespace {

StepShape make(int64_t layers, int64_t width, int64_t heads, int64_t ffn, int64_t vocab,
               int64_t context, int64_t batch) {
  StepShape shape{.model = {}, .batch = batch};
  shape.model.layers = layers;
  shape.model.width = width;
  shape.model.heads = heads;
  shape.model.ffn_width = ffn;
  shape.model.vocab_size = vocab;
  shape.model.context = context;
  shape.model.complete();
  return shape;
}

StepShape published(const std::string& preset, int64_t context, int64_t batch) {
  StepShape shape{.model = model_preset(preset), .batch = batch};
  shape.model.context = context;
  shape.model.complete();
  return shape;
}

}  // namespace

StepShape step_shape(const std::string& name) {
  if (name == "a") return make(4, 128, 4, 352, 65, 64, 12);
  if (name == "b") return make(6, 288, 6, 768, 4096, 256, 8);
  if (name == "c") return make(8, 512, 8, 1376, 8192, 1024, 2);
  if (name == "1b") return published("llama3.2-1b", 4096, 2);
  fail("bench: there is no shape {}; choose a, b, c or 1b", name);
}

}  // namespace tessera::bench
