#include "events/subjects.h"

#include "base/instance_id.h"

namespace dynamo::events {

std::string kv_subject(std::string_view name_space, uint64_t instance) {
  return kKvSubject.name({name_space, instance_text(instance)});
}

std::string load_subject(std::string_view name_space, uint64_t instance) {
  return kLoadSubject.name({name_space, instance_text(instance)});
}

std::string kv_subjects(std::string_view name_space) {
  return kKvSubject.name({name_space, "*"});
}

std::string load_subjects(std::string_view name_space) {
  return kLoadSubject.name({name_space, "*"});
}

std::string routers_subject(std::string_view name_space) {
  return kRoutersSubject.name({name_space});
}

std::optional<uint64_t> publisher_of(std::string_view subject) {
  for (const NameForm* form : {&kKvSubject, &kLoadSubject})
    if (const auto fields = form->read(subject)) return parse_instance(fields->back());
  return std::nullopt;
}

}  // namespace dynamo::events
