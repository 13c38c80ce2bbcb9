// The "normalizer" of a tokenizer.json: what happens to a text before it is split.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizers/json_file.h"

namespace tessera {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // `text` is valid UTF-8; `begins`: it begins a text or follows an added token.
  virtual std::string apply(std::string_view text, bool begins) const = 0;
  // Whether a text cut as CutRule allows changes as the whole, and still has a place to cut there.
  virtual bool is_local() const { return true; }
};

// Throws Error naming the key of what is not supported.
std::vector<std::unique_ptr<Normalizer>> parse_normalizers(const JsonValue& value);

}  // namespace tessera
