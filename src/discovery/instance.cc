#include "discovery/instance.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/host_port.h"
#include "base/status.h"

namespace dynamo::discovery {
namespace {

namespace json = boost::json;

// What an error repeats of a text that may hold anything: a little of it, and nothing that is not visible.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 64)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

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
  // 0 if it is missing.
  uint64_t number_if_there(const char* name, uint64_t least, uint64_t most) {
    return find(name) ? number(name, least, most) : 0;
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
    fail(value ? fmt::format("'{}' is {}, not {}", name, shown(json::serialize(*value)), expected)
               : fmt::format("'{}' is missing", name));
  }

  const json::object& object_;
  Status status_;
};

bool is_made_of(std::string_view text, std::string_view also) {
  return std::ranges::all_of(text, [&](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || also.find(static_cast<char>(c)) != std::string_view::npos);
  });
}

// Requires: valid UTF-8, as a JSON parser leaves it.
bool has_control(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) return true;  // C1
  }
  return false;
}

bool is_visible_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
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

std::optional<uint64_t> parse_instance(std::string_view text) {
  if (text.empty() || text.size() > 16 || text.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    return std::nullopt;
  const uint64_t instance = std::stoull(std::string(text), nullptr, 16);
  return instance == 0 ? std::nullopt : std::optional(instance);
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
  if (worker.max_sequences > 0) object["max_sequences"] = worker.max_sequences;
  if (worker.is_leaving) object["leaving"] = true;
  return json::serialize(object);
}

Status check(const WorkerInstance& worker) {
  const auto wrong = [](const char* member, std::string_view value, const char* expected) {
    return invalid(fmt::format("'{}' is '{}', not {}", member, shown(value), expected));
  };
  if (worker.name.empty() || worker.name.size() > 128 || !is_made_of(worker.name, "._-"))
    return wrong("name", worker.name, "1 to 128 letters, digits, dots, dashes and underscores");
  if (worker.model.empty() || worker.model.size() > 256 || has_control(worker.model))
    return wrong("model", worker.model, "1 to 256 bytes of text without control characters");
  if (worker.address.size() > 262 || !is_made_of(worker.address, "._-:[]%"))
    return wrong("address", worker.address, "host:port");
  if (const auto address = HostPort::parse(worker.address); !address.is_ok())
    return invalid("'address': " + address.status().text());
  for (const auto& [member, value] : {std::pair("model_digest", &worker.model_digest),
                                      std::pair("transfer", &worker.transfer), std::pair("version", &worker.version)})
    if (value->size() > 128 || !is_visible_ascii(*value))
      return wrong(member, *value, "at most 128 visible ASCII characters");
  return {};
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
  worker.max_sequences = static_cast<uint32_t>(members.number_if_there("max_sequences", 1, UINT32_MAX));
  worker.context_length = static_cast<uint32_t>(members.number("context_length", 1, UINT32_MAX));
  worker.model_digest = members.text("model_digest");
  worker.transfer = members.text("transfer");
  worker.started_at = static_cast<int64_t>(members.number("started_at", 0, INT64_MAX));
  worker.version = members.text("version");
  worker.is_leaving = members.flag("leaving");
  if (members.status().is_ok()) {
    if (const auto number = parse_instance(instance)) {
      worker.instance = *number;
    } else {
      members.fail(fmt::format("'instance' is '{}', not 16 hexadecimal digits", shown(instance)));
    }
    if (const auto known = parse_role(role)) {
      worker.role = *known;
    } else {
      members.fail(fmt::format("'role' is '{}', not aggregated, prefill or decode", shown(role)));
    }
    if (const Status checked = check(worker); !checked.is_ok()) members.fail(checked.text());
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
