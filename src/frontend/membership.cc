#include "frontend/membership.h"

#include <utility>

#include <fmt/format.h>

#include "base/instance_id.h"
#include "discovery/keys.h"

namespace dynamo::frontend {

using discovery::WorkerInstance;

Membership::Steps Membership::on_keys(std::span<const discovery::KeyChange> changes, Time now,
                                      const std::function<bool(uint64_t)>& is_connected) {
  if (!first_view_) first_view_ = now;
  Steps steps;
  for (const discovery::KeyChange& change : changes) {
    if (change.value) {
      put(change.key, *change.value, &steps);
    } else {
      lose(change.key, is_connected, &steps);
    }
  }
  readmit(&steps);
  return steps;
}

Membership::Steps Membership::on_lost(uint64_t instance) {
  Steps steps;
  remove_if_unlisted(instance, &steps);
  readmit(&steps);
  return steps;
}

void Membership::put(const std::string& key, const std::string& value, Steps* out) {
  if (const auto found = members_.find(key); found != members_.end()) {
    Member& member = found->second;
    if (member.state == Member::State::kUnlisted && member.announced == value) {
      member.state = Member::State::kTaken;
      out->push_back({What::kKeyBack, key, member.worker, ""});
      return;
    }
    remove(key, out);
  }
  add(key, value, out);
}

void Membership::lose(const std::string& key, const std::function<bool(uint64_t)>& is_connected, Steps* out) {
  const auto found = members_.find(key);
  if (found == members_.end()) return;
  Member& member = found->second;
  if (!member.is_taken() || !is_connected(member.worker.instance)) return remove(key, out);
  member.state = Member::State::kUnlisted;
  out->push_back({What::kKeyGone, key, member.worker, ""});
}

void Membership::add(const std::string& key, const std::string& value, Steps* out) {
  Member member;
  member.announced = value;
  const auto refuse = [&](Member::State state, std::string why) {
    member.state = state;
    member.refusal = std::move(why);
    out->push_back({What::kRefuse, key, {}, member.refusal});
    members_.insert_or_assign(key, std::move(member));
  };
  auto read = discovery::worker_from_json(value);
  if (!read.is_ok()) return refuse(Member::State::kRefused, read.status().text());
  member.worker = std::move(read).value();
  const WorkerInstance& worker = member.worker;
  if (discovery::worker_key(name_space_, worker) != key)
    return refuse(Member::State::kRefused, "the key is not that of its value");
  if (worker.is_leaving) return;
  remove_if_unlisted(worker.instance, out);  // in the role that it had
  if (std::string why = why_not(worker); !why.empty()) return refuse(Member::State::kWaiting, std::move(why));
  keys_.emplace(worker.instance, key);
  Model& model = models_.try_emplace(worker.model, Model{worker.model_digest, worker.block_tokens}).first->second;
  ++model.workers;
  out->push_back({What::kTake, key, worker, ""});
  members_.insert_or_assign(key, std::move(member));
}

void Membership::remove(const std::string& key, Steps* out) {
  Member member = std::move(members_.extract(key).mapped());
  if (!member.is_taken()) return;
  keys_.erase(member.worker.instance);
  const auto model = models_.find(member.worker.model);
  if (--model->second.workers == 0) models_.erase(model);
  out->push_back({What::kLeave, key, std::move(member.worker), ""});
}

void Membership::remove_if_unlisted(uint64_t instance, Steps* out) {
  const auto found = keys_.find(instance);
  if (found == keys_.end()) return;
  const std::string key = found->second;
  if (members_.at(key).state == Member::State::kUnlisted) remove(key, out);
}

// Takes in those that were refused beside workers which have left since.
void Membership::readmit(Steps* out) {
  std::vector<std::pair<std::string, std::string>> waiting;
  for (const auto& [key, member] : members_)
    if (member.state == Member::State::kWaiting) waiting.emplace_back(key, member.announced);
  for (const auto& [key, announced] : waiting) {
    if (!why_not(members_.at(key).worker).empty()) continue;
    members_.erase(key);
    add(key, announced, out);
  }
}

std::string Membership::why_not(const WorkerInstance& worker) const {
  // One that merely lost its key gives way to the same worker in another role.
  if (const auto same = keys_.find(worker.instance);
      same != keys_.end() && members_.at(same->second).state != Member::State::kUnlisted) {
    return fmt::format(
        "instance {} is announced already, by {}: an instance is one worker with one key; remove this key",
        instance_text(worker.instance), same->second);
  }
  const auto found = models_.find(worker.model);
  if (found == models_.end()) {
    if (models_.size() < max_models_) return {};
    return fmt::format("this frontend has {} models already, as many as it takes", models_.size());
  }
  const Model& model = found->second;
  if (worker.block_tokens != model.block_tokens) {
    return fmt::format("its block size is {}, that of the other workers of '{}' {} (--page-size)", worker.block_tokens,
                       worker.model, model.block_tokens);
  }
  if (worker.model_digest != model.digest) {
    return fmt::format("it serves another model under the name '{}': digest {}, the others' {}", worker.model,
                       worker.model_digest.substr(0, 16), model.digest.substr(0, 16));
  }
  return {};
}

}  // namespace dynamo::frontend
