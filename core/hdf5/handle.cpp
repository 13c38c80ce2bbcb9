#include "core/hdf5/handle.h"

#include <algorithm>
#include <string_view>

namespace tessera::hdf5 {

std::string last_error() {
  std::string reason = "unknown HDF5 error";
  const auto keep_innermost = [](unsigned depth, const H5E_error2_t* entry, void* out) -> herr_t {
    if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(out) = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  constexpr std::string_view kQuote = "error message = '";
  if (const size_t quote = reason.find(kQuote); quote != std::string::npos) {
    const size_t begin = quote + kQuote.size();
    reason = reason.substr(begin, reason.find('\'', begin) - begin);
  }
  std::replace(reason.begin(), reason.end(), '\n', ' ');
  return reason;
}

}  // namespace tessera::hdf5
