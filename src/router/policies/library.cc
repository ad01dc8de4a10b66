#include "router/policies/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "base/log.h"

namespace dynamo::router {
namespace {

constexpr size_t kNameBytes = 32;
constexpr size_t kReasonBytes = 64;
constexpr size_t kReasons = 32;
constexpr const char* kSymbol = "dynamo_policy_v1";

bool is_name(std::string_view text) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  };
  return !text.empty() && text.size() <= kNameBytes && std::ranges::all_of(text, is_allowed);
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

std::string_view start_of(const char* text, size_t most) {
  return {text, strnlen(text, most)};
}

Status check_table(const dynamo_policy_table* table) {
  if (table == nullptr) return invalid(fmt::format("{} returned no table", kSymbol));
  if (table->abi_version != DYNAMO_POLICY_ABI_VERSION)
    return invalid(fmt::format("it was built for version {} of the policy interface, this program has version {}",
                               table->abi_version, DYNAMO_POLICY_ABI_VERSION));
  if (table->size < sizeof(dynamo_policy_table))
    return invalid(fmt::format("its table has {} bytes, version {} has {}", table->size, DYNAMO_POLICY_ABI_VERSION,
                               sizeof(dynamo_policy_table)));
  if (table->name == nullptr || !is_name(start_of(table->name, kNameBytes + 1)))
    return invalid(fmt::format("its name must be 1 to {} of A-Z a-z 0-9 _ . -", kNameBytes));
  if (table->create == nullptr || table->destroy == nullptr || table->choose == nullptr)
    return invalid("its table lacks a function");
  return {};
}

class LibraryPolicy final : public Policy {
 public:
  LibraryPolicy(std::shared_ptr<const PolicyLibrary> library, const dynamo_policy_table* table, void* policy,
                uint32_t block_tokens, std::unique_ptr<Policy> builtin, prometheus::Counter* faults)
      : library_(std::move(library)),
        table_(table),
        policy_(policy),
        block_tokens_(block_tokens),
        builtin_(std::move(builtin)),
        faults_(faults),
        other_(fmt::format("{}/other", library_->name())) {}
  ~LibraryPolicy() override { table_->destroy(policy_); }

  std::optional<Choice> choose(const GenerateRequest& request, std::span<const Candidate> candidates,
                               double temperature) override {
    const char* reason = nullptr;
    const int64_t index = ask(request, candidates, temperature, &reason);
    if (index == -1) return std::nullopt;
    std::string fault;
    if (index < 0 || static_cast<uint64_t>(index) >= candidates.size()) {
      fault = fmt::format("it chose worker {} of {}", index, candidates.size());
    } else if (reason == nullptr || *reason == 0 || !is_printable(start_of(reason, kReasonBytes))) {
      fault = "its reason is missing or not printable";
    } else {
      return Choice{static_cast<size_t>(index), label_of(start_of(reason, kReasonBytes))};
    }
    faults_->Increment();
    if (!std::exchange(has_told_, true)) {
      LOG(error, "a policy library makes choices that cannot be used; the mode's own policy makes those instead",
          {"library", library_->name()}, {"first", fault});
    }
    return builtin_->choose(request, candidates, temperature);
  }

 private:
  int64_t ask(const GenerateRequest& request, std::span<const Candidate> candidates, double temperature,
              const char** reason) {
    candidates_.clear();
    for (const Candidate& one : candidates) {
      candidates_.push_back({.name = {one.name.data(), one.name.size()},
                             .instance = one.instance,
                             .active_requests = one.active_requests,
                             .overlap_blocks = one.overlap_blocks(),
                             .prefill_blocks = one.prefill_blocks,
                             .decode_blocks = one.decode_blocks,
                             .cost = one.cost,
                             .sequences = one.sequences,
                             .rounds = one.rounds});
    }
    const dynamo_policy_question question = {
        .size = sizeof(question),
        .candidate_size = sizeof(dynamo_policy_candidate),
        .candidate_count = candidates_.size(),
        .candidates = candidates_.data(),
        .request_id = {request.id.data(), request.id.size()},
        .prompt_tokens = static_cast<uint32_t>(request.prompt.size()),
        .prompt_blocks = static_cast<uint32_t>(request.prompt.size() / block_tokens_),
        .priority = request.priority,
        .temperature = temperature};
    return table_->choose(policy_, &question, reason);
  }

  // Our own copy of the reason, which stays where it is: the router keeps views of it.
  std::string_view label_of(std::string_view reason) {
    auto known = labels_.find(reason);
    if (known == labels_.end()) {
      if (labels_.size() >= kReasons) return other_;
      known = labels_.emplace(reason, fmt::format("{}/{}", library_->name(), reason)).first;
    }
    return known->second;
  }

  std::shared_ptr<const PolicyLibrary> library_;  // keeps the code loaded
  const dynamo_policy_table* table_;
  void* policy_;
  uint32_t block_tokens_;
  std::unique_ptr<Policy> builtin_;
  prometheus::Counter* faults_;
  bool has_told_ = false;
  const std::string other_;
  std::map<std::string, std::string, std::less<>> labels_;  // by reason
  std::vector<dynamo_policy_candidate> candidates_;         // one decision's, kept for its memory
};

}  // namespace

Result<std::shared_ptr<const PolicyLibrary>> PolicyLibrary::open(const std::string& path, std::string config) {
  std::error_code ignored;
  // Absolute, for dlopen() looks for a bare name in the system's folders instead.
  const std::filesystem::path file = std::filesystem::absolute(path, ignored);
  if (!std::filesystem::exists(file, ignored)) return not_found(fmt::format("there is no file {}", file.string()));
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return invalid(fmt::format("{} cannot be loaded as a library: {}", file.string(), dlerror()));
  // Owns the handle from here on; the table is checked before anything else looks at it.
  const std::shared_ptr<PolicyLibrary> library(new PolicyLibrary(handle, nullptr, std::move(config)));
  const auto table = reinterpret_cast<decltype(&dynamo_policy_v1)>(dlsym(handle, kSymbol));
  if (table == nullptr)
    return invalid(fmt::format("{} exports no function {} (router/policy_abi.h)", file.string(), kSymbol));
  library->table_ = table();
  if (const Status status = check_table(library->table_); !status.is_ok()) return status.with(file.string());
  const auto tried = library->create();
  if (!tried.is_ok()) return tried.status().with(file.string());
  library->table_->destroy(*tried);
  return std::shared_ptr<const PolicyLibrary>(library);
}

PolicyLibrary::~PolicyLibrary() {
  dlclose(handle_);
}

Result<void*> PolicyLibrary::create() const {
  char error[256] = {};
  void* policy = table_->create(config_.c_str(), error, sizeof error);
  if (policy != nullptr) return policy;
  const std::string_view why = start_of(error, sizeof error);
  return invalid(
      fmt::format("it made no policy of the config '{}': {}", config_, why.empty() ? "no reason given" : why));
}

std::unique_ptr<Policy> PolicyLibrary::make_policy(uint32_t block_tokens, std::unique_ptr<Policy> builtin,
                                                   prometheus::Counter* faults) const {
  const auto policy = create();
  if (policy.is_ok()) {
    return std::make_unique<LibraryPolicy>(shared_from_this(), table_, *policy, block_tokens, std::move(builtin),
                                           faults);
  }
  LOG(error, "a policy library makes no policy; the mode's own is used instead", {"library", name()},
      {"why", policy.status().to_string()});
  return builtin;
}

}  // namespace dynamo::router
