// HDF5's C library with owned handles and exceptions.
#pragma once

#include <hdf5.h>

#include <string>
#include <utility>

#include "core/check.h"

namespace tessera::hdf5 {

// Keeps HDF5 from printing its error stack in this thread; the stack itself stays readable. To
// stand before a program's first HDF5 call, because it also keeps HDF5 from tidying up at exit,
// where 1.10 crashes over files that a failed write has kept from closing. So every file is to be
// closed by its owner.
class Quiet {
 public:
  Quiet() {
    H5dont_atexit();  // without effect from the second time on
    H5Eget_auto2(H5E_DEFAULT, &print_, &client_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Quiet() { H5Eset_auto2(H5E_DEFAULT, print_, client_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  H5E_auto2_t print_ = nullptr;
  void* client_ = nullptr;
};

// The innermost message of HDF5's error stack on one line, or the system's reason if it quotes one.
std::string last_error();

// Throws Error "WHAT: HDF5's reason" when an HDF5 call returned a negative status.
template <class Status, class... Args>
Status checked(Status status, fmt::format_string<Args...> what, Args&&... args) {
  if (status < 0) {
    fail("{}: {}", fmt::format(what, std::forward<Args>(args)...), last_error());
  }
  return status;
}

// Owns one HDF5 id of any kind.
class Handle {
 public:
  Handle() = default;
  explicit Handle(hid_t id) : id_(id) {}
  ~Handle() { reset(); }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }

  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  void reset() {
    if (id_ >= 0) H5Idec_ref(id_);
    id_ = H5I_INVALID_HID;
  }
  hid_t release() { return std::exchange(id_, H5I_INVALID_HID); }

 private:
  hid_t id_ = H5I_INVALID_HID;
};

}  // namespace tessera::hdf5
