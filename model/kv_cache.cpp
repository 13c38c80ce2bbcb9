#include "model/kv_cache.h"

namespace tessera {

KvCache::KvCache(Context& ctx, const ModelConfig& config, int64_t capacity, DType dtype)
    : capacity_(capacity) {
  const Shape shape{capacity, config.kv_heads * config.head_dim};
  for (int64_t i = 0; i < config.layers; ++i) {
    keys_.push_back(ctx.empty(shape, dtype));
    values_.push_back(ctx.empty(shape, dtype));
  }
}

}  // namespace tessera
