#include "discovery/keys.h"

#include <cctype>

#include "base/instance_id.h"

namespace dynamo::discovery {

std::string workers_prefix(std::string_view name_space) {
  return kWorkerKey.prefix({name_space});
}

std::string worker_key(std::string_view name_space, const WorkerInstance& worker) {
  return kWorkerKey.name({name_space, role_name(worker.role), instance_text(worker.instance)});
}

std::string names_prefix(std::string_view name_space, Role role) {
  return kNameKey.prefix({name_space, role_name(role)});
}

std::string name_key(std::string_view name_space, Role role, uint32_t number) {
  return kNameKey.name({name_space, role_name(role), std::to_string(number)});
}

std::string role_turn_key(std::string_view name_space, std::string_view model) {
  return kRoleTurnKey.name({name_space, slug_of(model)});
}

std::string frontend_key(std::string_view name_space, uint64_t instance) {
  return kFrontendKey.name({name_space, instance_text(instance)});
}

std::string config_prefix() {
  return kConfigKey.prefix({});
}

std::string config_key(std::string_view model) {
  return kConfigKey.name({slug_of(model)});
}

std::optional<std::string> slug_of_config_key(std::string_view key) {
  const auto fields = kConfigKey.read(key);
  return fields ? std::optional<std::string>(fields->front()) : std::nullopt;
}

std::string slug_of(std::string_view model) {
  std::string slug;
  for (const char c : model) {
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
