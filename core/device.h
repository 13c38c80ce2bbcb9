// Where tensors live and kernels run.
#pragma once

#include <cstdint>
#include <string_view>

namespace tessera {

// `meta` has shapes and memory accounting but no data.
enum class Device : uint8_t { cpu, meta };

constexpr std::string_view name_of(Device device) {
  return device == Device::cpu ? "cpu" : "meta";
}

}  // namespace tessera
