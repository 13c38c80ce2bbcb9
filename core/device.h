// Where tensors live and kernels run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tessera {

// `meta` has shapes and memory accounting but no data. `simt` runs the kernels of `cuda` on the
// CPU, in an emulator.
enum class Device : uint8_t { cpu, meta, cuda, simt };

constexpr std::string_view name_of(Device device) {
  constexpr std::string_view kNames[] = {"cpu", "meta", "cuda", "simt"};
  return kNames[size_t(device)];
}

// Whether the device runs the kernels of `.cu` files.
constexpr bool is_gpu(Device device) {
  return device == Device::cuda || device == Device::simt;
}

// Whether the host may read and write the device's memory. That of `simt` is kept from it too, so
// that code which would fail on `cuda` fails there.
constexpr bool is_host_readable(Device device) {
  return device == Device::cpu;
}

}  // namespace tessera
