// The legacy .bin of llama2.c (version 0): seven 32-bit sizes, then all weights as f32, the same
// weight of all layers together.
#pragma once

#include "model/config.h"
#include "model/formats/file_weights.h"

namespace tessera {

struct Llama2cModel {
  ModelConfig config;
  std::unique_ptr<WeightSource> weights;
};

// The file has no magic number: its sizes must be plausible and give its length to the byte. Error
// naming the file and the size.
Llama2cModel open_llama2c(const std::filesystem::path& path);

}  // namespace tessera
