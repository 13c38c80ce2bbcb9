// Values made ahead of time by one background thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace tessera {

// Calls `produce` in a thread of its own and holds at most `depth` results; with depth 0 there is
// no thread and next() calls it. An exception ends the thread and is thrown by every later next().
template <class T>
class Prefetcher {
 public:
  Prefetcher(std::function<T()> produce, size_t depth)
      : produce_(std::move(produce)), depth_(depth) {
    if (depth_ > 0) thread_ = std::thread([this] { run(); });
  }

  ~Prefetcher() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    space_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  T next() {
    if (depth_ == 0) return produce_();
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return !results_.empty() || error_ != nullptr; });
    if (results_.empty()) std::rethrow_exception(error_);
    T result = std::move(results_.front());
    results_.pop_front();
    space_.notify_one();
    return result;
  }

 private:
  void run() {
    try {
      while (wait_for_space()) {
        T result = produce_();
        const std::lock_guard lock(mutex_);
        results_.push_back(std::move(result));
        ready_.notify_one();
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
      ready_.notify_one();
    }
  }

  // False when the owner is leaving.
  bool wait_for_space() {
    std::unique_lock lock(mutex_);
    space_.wait(lock, [&] { return stopping_ || results_.size() < depth_; });
    return !stopping_;
  }

  std::function<T()> produce_;
  size_t depth_;
  std::mutex mutex_;
  std::condition_variable ready_, space_;
  std::deque<T> results_;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace tessera
