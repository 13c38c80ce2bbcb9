// The Context: everything an op needs besides its tensors. Passed, never global; one per device and
// thread of control.
#pragma once

#include <any>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/isa.h"
#include "core/random.h"
#include "core/tensor.h"

namespace tessera {

// What a kernel call costs, from its shapes: floating-point operations and bytes moved if every
// operand is read or written once.
struct KernelCost {
  double flops = 0;
  double bytes = 0;
};

// Told of every kernel call. `scope` names the part of the model ("layers.3.attention").
class KernelLog {
 public:
  virtual ~KernelLog() = default;
  virtual void begin(std::string_view scope, std::string_view kernel, const KernelCost& cost) = 0;
  virtual void end() = 0;
};

// Told of every op's outputs in forward, for the search for the first non-finite tensor.
using OutputObserver = std::function<void(std::string_view scope, std::string_view op,
                                          std::span<const Tensor> outputs)>;

// What becomes of a tensor between forward and backward: `pack` may move it away (to host memory,
// to a file) and return whatever `unpack` needs to bring it back.
struct SavedTensorHooks {
  std::function<std::any(class Context&, const Tensor&)> pack;
  std::function<Tensor(class Context&, const std::any&)> unpack;
};

class LeafNode;

struct ContextOptions {
  Device device = Device::cpu;
  Device planned = Device::cpu;  // on `meta`: the device that is planned for
  int threads = 1;
  Isa isa = Isa::avx2;  // on `meta`: the level of the machine that is planned for
  uint64_t seed = 0;
  bool poison = false;  // fill new tensors with NaN
};

class Context {
 public:
  explicit Context(const ContextOptions& options);

  Device device() const { return options_.device; }
  bool is_meta() const { return options_.device == Device::meta; }
  // The device whose kernels run; on `meta`: that is planned for. Sizes of workspaces may depend on
  // it.
  Device target() const { return is_meta() ? options_.planned : options_.device; }
  int threads() const { return options_.threads; }
  Isa isa() const { return options_.isa; }

  // A contiguous tensor with unspecified contents.
  Tensor empty(const Shape& shape, DType dtype, MemoryTag tag = MemoryTag::activations);
  Tensor zeros(const Shape& shape, DType dtype, MemoryTag tag = MemoryTag::activations);
  // Scratch memory of a kernel, u8 [bytes], 64-byte aligned.
  Tensor workspace(size_t bytes) {
    return empty({int64_t(bytes)}, DType::u8, MemoryTag::workspace);
  }
  // f32 [] on the device with the value; for scalars such as the gradient of a loss.
  Tensor scalar(float value);

  // Waits for every kernel and copy that was started.
  void synchronize() { pool_->segments().synchronize(); }

  MemoryPool& pool() { return *pool_; }
  Ledger& ledger() { return pool_->ledger(); }

  // What random numbers depend on, besides their purpose and element; see core/random.h.
  uint64_t seed() const { return options_.seed; }
  uint32_t step() const { return step_; }
  void set_step(uint32_t step) { step_ = step; }

  // What kernels keep from call to call (plans, primitive caches): one T per context, made on first
  // use.
  template <class T>
  T& state() {
    auto& slot = states_[std::type_index(typeid(T))];
    if (!slot) slot = std::make_shared<T>();
    return *static_cast<T*>(slot.get());
  }

  // The dotted name of the part of the model that is running.
  const std::string& scope() const { return scope_; }

  // Autograd state; changed through the guards below.
  bool grad_enabled() const { return grad_enabled_; }
  const SavedTensorHooks* saved_tensor_hooks() const { return hooks_; }
  std::vector<std::shared_ptr<LeafNode>>* leaf_use_collector() const { return leaf_uses_; }

  KernelLog* kernel_log() const { return kernel_log_; }
  void set_kernel_log(KernelLog* log) { kernel_log_ = log; }
  const OutputObserver& output_observer() const { return observer_; }
  void set_output_observer(OutputObserver observer) { observer_ = std::move(observer); }

 private:
  friend class NameScope;
  friend class FullScope;
  friend class GradMode;
  friend class SavedTensorHooksScope;
  friend class LeafUseScope;

  ContextOptions options_;
  std::shared_ptr<MemoryPool> pool_;
  std::unordered_map<std::type_index, std::shared_ptr<void>> states_;
  uint32_t step_ = 0;
  std::string scope_;
  bool grad_enabled_ = true;
  const SavedTensorHooks* hooks_ = nullptr;
  std::vector<std::shared_ptr<LeafNode>>* leaf_uses_ = nullptr;
  KernelLog* kernel_log_ = nullptr;
  OutputObserver observer_;
};

// Appends ".name" to the context's scope while alive.
class NameScope {
 public:
  NameScope(Context& ctx, std::string_view name) : ctx_(ctx), length_(ctx.scope_.size()) {
    if (length_) ctx.scope_ += '.';
    ctx.scope_ += name;
  }
  ~NameScope() { ctx_.scope_.resize(length_); }
  NameScope(const NameScope&) = delete;
  NameScope& operator=(const NameScope&) = delete;

 private:
  Context& ctx_;
  size_t length_;
};

// Sets a member of the context for a lifetime; the base of the guards below.
template <class T>
class ContextGuard {
 public:
  ContextGuard(T& member, T value)
      : member_(member), previous_(std::exchange(member, std::move(value))) {}
  ~ContextGuard() { member_ = std::move(previous_); }
  ContextGuard(const ContextGuard&) = delete;
  ContextGuard& operator=(const ContextGuard&) = delete;

 private:
  T& member_;
  T previous_;
};

// Sets the whole scope: backward reports under the scope of its forward.
class FullScope : ContextGuard<std::string> {
 public:
  FullScope(Context& ctx, std::string scope) : ContextGuard(ctx.scope_, std::move(scope)) {}
};

// Whether ops record themselves for backward.
class GradMode : ContextGuard<bool> {
 public:
  GradMode(Context& ctx, bool enabled) : ContextGuard(ctx.grad_enabled_, enabled) {}
};

class SavedTensorHooksScope : ContextGuard<const SavedTensorHooks*> {
 public:
  SavedTensorHooksScope(Context& ctx, const SavedTensorHooks* hooks)
      : ContextGuard(ctx.hooks_, hooks) {}
};

// Collects the leaves that ops use while nothing is recorded (see autograd/recompute.h).
class LeafUseScope : ContextGuard<std::vector<std::shared_ptr<LeafNode>>*> {
 public:
  LeafUseScope(Context& ctx, std::vector<std::shared_ptr<LeafNode>>* uses)
      : ContextGuard(ctx.leaf_uses_, uses) {}
};

// Reports one kernel call to the context's log, if there is one.
class KernelScope {
 public:
  KernelScope(Context& ctx, std::string_view kernel, const KernelCost& cost)
      : log_(ctx.kernel_log()) {
    if (log_) log_->begin(ctx.scope(), kernel, cost);
  }
  ~KernelScope() {
    if (log_) log_->end();
  }
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  KernelLog* log_;
};

}  // namespace tessera
