// Which of the announced workers this frontend takes, and which it leaves out and why.
//
// Told what the registry's keys say and whose connection is lost, it says what is to be done. Its rules:
//   - A key whose value cannot be read, or is not the key of that worker, is refused.
//   - A worker that says that it leaves is gone. One whose key is merely gone stays as long as it is connected: a store
//     that loses keys takes nobody's workers away.
//   - An instance is one worker with one key. Workers of one model agree in block size and digest. There are at most so
//     many models. Who does not fit is refused for as long as the others are there, and taken when they have left.
// A state machine of values: no clock, no lock, no I/O.  Private to the module.  Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "discovery/instance.h"
#include "discovery/registry.h"

namespace dynamo::frontend {

// One key under the workers' prefix, and what was made of it.
struct Member {
  enum class State : uint8_t {
    kTaken,
    kUnlisted,  // taken, and its key is gone
    kWaiting,   // refused because of other members
    kRefused    // for what it says
  };
  State state = State::kTaken;
  std::string announced;             // value of its key
  discovery::WorkerInstance worker;  // empty if that cannot be read
  std::string refusal;               // why it is left out

  bool is_taken() const { return state == State::kTaken || state == State::kUnlisted; }
};

// By key; any bytes.
using Members = std::map<std::string, Member>;

class Membership {
 public:
  explicit Membership(std::string name_space, size_t max_models = 1024)
      : name_space_(std::move(name_space)), max_models_(max_models) {}

  // What came of a change. For kTake and kLeave the caller has something to do.
  enum class What : uint8_t {
    kTake,     // connect to `worker`
    kLeave,    // it gets nothing new any more
    kRefuse,   // `why`
    kKeyGone,  // the worker stays
    kKeyBack
  };
  struct Step {
    What what;
    std::string key;
    discovery::WorkerInstance worker;  // not of kRefuse
    std::string why;
  };
  using Steps = std::vector<Step>;  // to be done in this order

  // Changes of keys under the workers' prefix; the first call is the first view. `is_connected` is asked of instances
  // that are taken.
  Steps on_keys(std::span<const discovery::KeyChange> changes, Time now,
                const std::function<bool(uint64_t instance)>& is_connected);
  // A worker that was taken is not connected any more.
  Steps on_lost(uint64_t instance);

  const Members& members() const { return members_; }
  std::optional<Time> first_view() const { return first_view_; }

 private:
  // What all workers of a model agree in.
  struct Model {
    std::string digest;
    uint32_t block_tokens = 0;
    size_t workers = 0;
  };

  void put(const std::string& key, const std::string& value, Steps* out);
  void lose(const std::string& key, const std::function<bool(uint64_t)>& is_connected, Steps* out);
  void add(const std::string& key, const std::string& value, Steps* out);
  void remove(const std::string& key, Steps* out);
  void remove_if_unlisted(uint64_t instance, Steps* out);
  void readmit(Steps* out);
  // What the members have against one that is not taken yet; empty: nothing.
  std::string why_not(const discovery::WorkerInstance& worker) const;

  const std::string name_space_;
  const size_t max_models_;
  Members members_;
  std::map<uint64_t, std::string> keys_;  // of those that are taken, by instance
  std::map<std::string, Model> models_;   // of those that are taken, by name
  std::optional<Time> first_view_;
};

}  // namespace dynamo::frontend
