#include "discovery/instance.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "base/host_port.h"
#include "base/instance_id.h"
#include "base/status.h"
#include "json/object_reader.h"
#include "json/parse.h"

namespace dynamo::discovery {
namespace {

// What an error repeats of a text that may hold anything: a little of it, and nothing that is not visible.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 64)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

std::string quoted(std::string_view text) {
  return fmt::format("'{}'", shown(text));
}

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

std::string to_json(const FrontendInstance& frontend) {
  json::object object{{"namespace", frontend.name_space}, {"version", frontend.version}};
  if (!frontend.url.empty()) object["url"] = frontend.url;
  return json::serialize(object);
}

Status check(const WorkerInstance& worker) {
  const auto wrong = [](const char* member, std::string_view value, const char* expected) {
    return invalid(fmt::format("'{}' is {}, not {}", member, quoted(value), expected));
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
  TRY(const json::value document, json::parse_object(text, {.max_depth = 8}));
  json::FirstProblem problem;
  json::ObjectReader members(document.get_object(), "", &problem);
  const auto number = [&](const char* name, int64_t most) {
    return static_cast<uint32_t>(members.required_integer(name, 1, most));
  };
  WorkerInstance worker;
  const std::string_view instance = members.required_string("instance");
  const std::string_view role = members.required_string("role");
  worker.name = members.required_string("name");
  worker.model = members.required_string("model");
  worker.address = members.required_string("address");
  worker.block_tokens = number("block_size", 1U << 16);
  worker.total_blocks = number("total_blocks", UINT32_MAX);
  worker.max_batch_tokens = number("max_batch_tokens", UINT32_MAX);
  worker.max_sequences = static_cast<uint32_t>(members.integer("max_sequences", 1, UINT32_MAX).value_or(0));
  worker.context_length = number("context_length", UINT32_MAX);
  worker.model_digest = members.required_string("model_digest");
  worker.transfer = members.required_string("transfer");
  worker.started_at = members.required_integer("started_at", 0, INT64_MAX);
  worker.version = members.required_string("version");
  worker.is_leaving = members.boolean("leaving").value_or(false);
  const auto number_of_instance = parse_instance(instance);
  if (!number_of_instance) problem.wrong_value("instance", "16 hexadecimal digits", quoted(instance));
  const auto known_role = parse_role(role);
  if (!known_role) problem.wrong_value("role", "aggregated, prefill or decode", quoted(role));
  if (problem.has_value()) return json::to_status(*problem);
  worker.instance = *number_of_instance;
  worker.role = *known_role;
  const Status checked = check(worker);
  if (!checked.is_ok()) return corrupt(checked.text());
  return worker;
}

}  // namespace dynamo::discovery
