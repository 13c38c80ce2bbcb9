// Weights that lie in mapped files.
#pragma once

#include <functional>
#include <map>

#include "core/files/mapped_file.h"
#include "model/formats/tensor_map.h"
#include "model/formats/weight_source.h"

namespace tessera {

// Tensors of one or several mapped files.
struct StoredModel {
  std::string where;  // names the file or folder in errors
  std::vector<std::shared_ptr<MappedFile>> files;
  std::vector<StoredTensor> tensors;
};

class FileWeights final : public WeightSource {
 public:
  // Error, one line naming the tensor, where the file lacks one of `map`, has another besides
  // (unless `ignored` says so of its name) or one of another shape.
  FileWeights(StoredModel stored, const std::vector<MappedTensor>& map,
              const std::function<bool(const std::string&)>& ignored);

  const std::vector<WeightInfo>& weights() const override { return weights_; }
  void read_rows(const std::string& name, int64_t first, int64_t rows, float* into) const override;

 private:
  struct Part {
    MappedTensor map;
    StoredTensor tensor;
  };

  void read_part(const Part& part, int64_t first, int64_t rows, float* into) const;

  StoredModel stored_;
  std::vector<WeightInfo> weights_;
  std::map<std::string, std::vector<Part>, std::less<>> parts_;  // of a parameter, by rows
};

}  // namespace tessera
