#include "discovery/instance.h"

#include <cctype>

#include <fmt/format.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/status.h"

namespace dynamo::discovery {
namespace {

namespace json = boost::json;

// Reads members of one object; the first failure stands.
class Members {
 public:
  explicit Members(const json::object& object) : object_(object) {}

  std::string text(const char* name) {
    const json::value* value = find(name);
    if (value && value->is_string()) return std::string(value->get_string());
    fail(value, name, "text");
    return {};
  }
  uint64_t number(const char* name, uint64_t least, uint64_t most) {
    const json::value* value = find(name);
    boost::system::error_code error;
    const uint64_t number = value && value->is_number() ? value->to_number<uint64_t>(error) : 0;
    if (value && value->is_number() && !error && number >= least && number <= most) return number;
    fail(value, name, fmt::format("a whole number from {} to {}", least, most));
    return 0;
  }
  // False if it is missing.
  bool flag(const char* name) {
    const json::value* value = find(name);
    if (value && !value->is_bool()) fail(value, name, "true or false");
    return value && value->is_bool() && value->get_bool();
  }
  const Status& status() const { return status_; }
  void fail(std::string text) {
    if (status_.is_ok()) status_ = corrupt(std::move(text));
  }

 private:
  const json::value* find(const char* name) const { return object_.if_contains(name); }
  void fail(const json::value* value, const char* name, const std::string& expected) {
    fail(value ? fmt::format("'{}' is {}, not {}", name, json::serialize(*value).substr(0, 64), expected)
               : fmt::format("'{}' is missing", name));
  }

  const json::object& object_;
  Status status_;
};

std::optional<uint64_t> parse_hex(std::string_view text) {
  if (text.empty() || text.size() > 16 || text.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    return std::nullopt;
  return std::stoull(std::string(text), nullptr, 16);
}

}  // namespace

std::optional<Role> parse_role(std::string_view name) {
  for (const Role role : {Role::kAggregated, Role::kPrefill, Role::kDecode})
    if (role_name(role) == name) return role;
  return std::nullopt;
}

std::string_view role_name(Role role) {
  switch (role) {
    case Role::kAggregated:
      return "aggregated";
    case Role::kPrefill:
      return "prefill";
    case Role::kDecode:
      return "decode";
  }
  return "?";
}

std::string instance_text(uint64_t instance) {
  return fmt::format("{:016x}", instance);
}

std::string workers_prefix(std::string_view name_space) {
  return fmt::format("/dynamo/workers/{}/", name_space);
}

std::string key_of(std::string_view name_space, const WorkerInstance& worker) {
  return fmt::format("{}{}/{}", workers_prefix(name_space), role_name(worker.role), instance_text(worker.instance));
}

std::string to_json(const WorkerInstance& worker) {
  json::object object{{"instance", instance_text(worker.instance)},
                      {"name", worker.name},
                      {"role", role_name(worker.role)},
                      {"model", worker.model},
                      {"address", worker.address},
                      {"block_size", worker.block_tokens},
                      {"total_blocks", worker.total_blocks},
                      {"max_batch_tokens", worker.max_batch_tokens},
                      {"context_length", worker.context_length},
                      {"model_digest", worker.model_digest},
                      {"transfer", worker.transfer},
                      {"started_at", worker.started_at},
                      {"version", worker.version}};
  if (worker.is_leaving) object["leaving"] = true;
  return json::serialize(object);
}

Result<WorkerInstance> worker_from_json(std::string_view text) {
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = 8;
  const json::value parsed = json::parse(text, error, {}, options);
  if (error || !parsed.is_object()) return corrupt("not a JSON object");
  Members members(parsed.get_object());
  WorkerInstance worker;
  const std::string instance = members.text("instance");
  const std::string role = members.text("role");
  worker.name = members.text("name");
  worker.model = members.text("model");
  worker.address = members.text("address");
  worker.block_tokens = static_cast<uint32_t>(members.number("block_size", 1, 1U << 16));
  worker.total_blocks = static_cast<uint32_t>(members.number("total_blocks", 1, UINT32_MAX));
  worker.max_batch_tokens = static_cast<uint32_t>(members.number("max_batch_tokens", 1, UINT32_MAX));
  worker.context_length = static_cast<uint32_t>(members.number("context_length", 1, UINT32_MAX));
  worker.model_digest = members.text("model_digest");
  worker.transfer = members.text("transfer");
  worker.started_at = static_cast<int64_t>(members.number("started_at", 0, INT64_MAX));
  worker.version = members.text("version");
  worker.is_leaving = members.flag("leaving");
  if (members.status().is_ok()) {
    if (const auto number = parse_hex(instance); number && *number != 0) {
      worker.instance = *number;
    } else {
      members.fail(fmt::format("'instance' is '{}', not 16 hexadecimal digits", instance.substr(0, 64)));
    }
    if (const auto known = parse_role(role)) {
      worker.role = *known;
    } else {
      members.fail(fmt::format("'role' is '{}', not aggregated, prefill or decode", role.substr(0, 64)));
    }
    if (worker.name.empty()) members.fail("'name' is empty");
    if (worker.model.empty()) members.fail("'model' is empty");
  }
  if (!members.status().is_ok()) return members.status();
  return worker;
}

std::string slug_of(std::string_view name) {
  std::string slug;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '/') {
      slug += "--";
    } else {
      slug += std::isalnum(byte) || c == '_' ? static_cast<char>(std::tolower(byte)) : '-';
    }
  }
  return slug;
}

}  // namespace dynamo::discovery
