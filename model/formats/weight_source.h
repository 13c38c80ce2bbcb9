// The weights of a model under our parameters' names, whatever file they come from.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "model/formats/stored_tensor.h"

namespace tessera {

struct WeightInfo {
  std::string name;  // Parameter::name
  Shape shape;       // of the parameter
  StoredType type = StoredType::f32;
};

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  virtual const std::vector<WeightInfo>& weights() const = 0;
  // Rows [first, first + rows) along dimension 0 into f32; a row has elements / shape[0] elements.
  // Throws Error naming the file for an unknown name and for damage. Not for several threads.
  virtual void read_rows(const std::string& name, int64_t first, int64_t rows,
                         float* into) const = 0;
};

// The weight `info` of `source` into a contiguous tensor of its shape, f32, f64, f16 or bf16, on
// any device: rounded to nearest even, by blocks of rows, so that little host memory is used.
void read_weight(const WeightSource& source, const WeightInfo& info, const Tensor& into);

// Rows of `row_elements` that are converted at a time: about a million elements.
int64_t rows_of_block(int64_t row_elements);

}  // namespace tessera
