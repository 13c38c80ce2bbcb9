#include "kernels/attention/cudnn_api.h"

#include <dlfcn.h>

#include <array>

#include "core/check.h"

namespace tessera {
namespace {

constexpr const char* kLibrary = "libcudnn.so.9";

}  // namespace

std::string cudnn_version_text(size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

void CudnnApi::checked(int status, const char* what) const {
  if (status == 0) return;
  std::array<char, 1024> account{};
  last_error(account.data(), account.size());
  fail("cudnn {}: {}: {}: {}", cudnn_version_text(version()), what, error_string(status),
       account.data());
}

CudnnApi load_cudnn(const std::string& library) {
  void* const opened = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  check(opened,
        "attention: no cuDNN ({}): add the folder of {} to LD_LIBRARY_PATH (Python's packages "
        "nvidia-cudnn-cu13 and nvidia-cudnn-cu12 have it), or use attention.backend flash",
        opened ? "" : dlerror(), kLibrary);
  const auto load = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(opened, name));
    check(function, "attention: {} has no {}; is it cuDNN 9?", library, name);
  };
  CudnnApi api;
  load(api.version, "cudnnGetVersion");
  check(api.version() >= kOldestCudnn,
        "attention: {} is cuDNN {}, older than {}; install a newer one, or use attention.backend "
        "flash",
        library, cudnn_version_text(api.version()), cudnn_version_text(kOldestCudnn));
  load(api.error_string, "cudnnGetErrorString");
  load(api.last_error, "cudnnGetLastErrorString");
  load(api.create, "cudnnCreate");
  load(api.destroy, "cudnnDestroy");
  load(api.set_stream, "cudnnSetStream");
  load(api.create_descriptor, "cudnnBackendCreateDescriptor");
  load(api.destroy_descriptor, "cudnnBackendDestroyDescriptor");
  load(api.set_attribute, "cudnnBackendSetAttribute");
  load(api.get_attribute, "cudnnBackendGetAttribute");
  load(api.finalize, "cudnnBackendFinalize");
  load(api.execute, "cudnnBackendExecute");
  return api;
}

const CudnnApi& cudnn_api() {
#ifdef TESSERA_CUDNN
  static const CudnnApi api = load_cudnn(dlopen(kLibrary, RTLD_LAZY) ? kLibrary : TESSERA_CUDNN);
#else
  static const CudnnApi api = load_cudnn(kLibrary);
#endif
  return api;
}

}  // namespace tessera
