#include "apps/node_options.h"

#include <string>

namespace dynamo::apps {

worker::NodeOptions node_options(const PlaneFlags& planes, const worker::Whereabouts& whereabouts, discovery::Role role,
                                 Metrics* metrics) {
  worker::NodeOptions options;
  options.name_space = planes.name_space;
  options.role = role;
  options.listen_host = whereabouts.listen_host;
  options.announced_host = whereabouts.announced_host;
  options.version = DYNAMO_VERSION;
  options.on_renamed = [metrics](const std::string& first, const std::string& now) {
    metrics->show_label("worker", first, now);
  };
  return options;
}

}  // namespace dynamo::apps
