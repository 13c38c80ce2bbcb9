#include "kernels/launch/simt/site.h"

#include <dlfcn.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string_view>

#include "kernels/launch/simt/state.h"

namespace tessera::simt {
namespace {

std::string base_name(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

struct ClosePipe {
  void operator()(FILE* pipe) const { pclose(pipe); }
};

// "file:line" from the program's debug information, or "program+0xoffset".
std::string look_up(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0) return fmt::format("{}", address);
  // The address is that of the instruction after the access.
  const size_t offset =
      size_t(static_cast<const char*>(address) - static_cast<const char*>(info.dli_fbase)) - 1;
  const std::string fallback = fmt::format("{}+{:#x}", base_name(info.dli_fname), offset);
  const std::string command =
      fmt::format("addr2line -e '{}' {:#x} 2>/dev/null", info.dli_fname, offset);
  const std::unique_ptr<FILE, ClosePipe> pipe(popen(command.c_str(), "r"));
  std::array<char, 1024> line;
  if (!pipe || !std::fgets(line.data(), line.size(), pipe.get()) || line[0] == '?') return fallback;
  const std::string_view text(line.data());
  return base_name(text.substr(0, text.find_first_of(" \n")));
}

}  // namespace

std::string describe(Site site) {
  return site.is_code() ? look_up(site.file)
                        : fmt::format("{}:{}", base_name(site.file), site.line);
}

void throw_at(Site site, const std::string& message) {
  std::string text = describe(site) + ": " + message;
  if (const ThreadView* thread = current_thread) {
    const Fiber& fiber = *static_cast<const Fiber*>(thread);
    const Index3 block = fiber.block_index;
    text += fmt::format(" [block ({}, {}, {}), thread {} (warp {}, lane {})]", block.x, block.y,
                        block.z, fiber.number, fiber.warp_index, fiber.lane);
  }
  throw Error(text);
}

}  // namespace tessera::simt
