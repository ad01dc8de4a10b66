// dynamo docs flags|metrics|keys: prints pages of docs/reference, so that they cannot differ from the program.
#include <memory>
#include <span>

#include <fmt/format.h>

#include "apps/command.h"
#include "apps/command_line.h"
#include "apps/planes.h"
#include "apps/print.h"
#include "base/log_output.h"
#include "base/metrics.h"
#include "discovery/keys.h"
#include "engine/metrics.h"
#include "events/subjects.h"
#include "handoff/metrics.h"
#include "http/metrics.h"
#include "openai/metrics.h"
#include "router/metrics.h"

namespace dynamo::apps {
namespace {

constexpr const char* kFlagsHead = R"(# Flags

Printed by `dynamo docs flags` from what `--help` shows. A flag's environment variable, where it has one, stands
behind it; the flag wins. A command reads the variables of its own flags only, and `serve` hands its own on as flags.

Kubernetes sets variables for each Service of a namespace: `DYN_PORT=tcp://10.96.12.7:8000` for one named `dyn`. A command
with that flag refuses such a value and names the variable; `enableServiceLinks: false` in the pod's spec keeps them out.

)";

constexpr const char* kMetricsHead = R"(# Metrics

Printed by `dynamo docs metrics` from where each module declares what it counts. Shown at `/metrics`.

What a worker shows of its engine and its hand-offs has the label `worker`, its name. When `dynamo ctl role` gives it
another name, all of it is shown with that one from then on, and its counters go on from where they were.

)";

constexpr const char* kKeysHead = R"(# Keys and subjects

Printed by `dynamo docs keys` from `src/discovery/keys.h` and `src/events/subjects.h`.

An instance's id is random, never 0, and the same for the life of its process; it is written as 16 hexadecimal
digits. A model's slug is its name fit for a key: that of `Qwen/Qwen3-0.6B` is `qwen--qwen3-0-6b`.

)";

constexpr const char* kKeysText = R"(
Keys are the same in etcd and in the hub; values that say more than an id are JSON. All are under a lease of their
process (10 s, renewed every third of that), but those that people write. What the values mean and what is made of
them: [discovery.md](discovery.md).
)";

constexpr const char* kSubjectsText = R"(
Parts are joined by dots; a part holds no dot, blank, `*` or `>` and is not empty. A subscription may write `*` for
one part and `>` as its last part for one or more: a router listens to `dynamo.<namespace>.kv.*`. How messages travel:
[events.md](events.md); what they hold: [wire.md](wire.md).
)";

std::string metrics_page() {
  std::string page = kMetricsHead;
  const std::vector<std::pair<const char*, std::vector<const MetricSpec*>>> modules = {
      {"openai", openai::kAllMetrics},   {"router", router::kAllMetrics}, {"engine", engine::kAllMetrics},
      {"handoff", handoff::kAllMetrics}, {"http", http::kAllMetrics},     {"planes", kPlaneMetrics},
      {"log", log::kAllMetrics}};
  for (const auto& [module, specs] : modules) {
    page += fmt::format("## {}\n\n| metric | kind | meaning |\n|---|---|---|\n", module);
    for (const MetricSpec* spec : specs) {
      static constexpr const char* kKinds[] = {"counter", "gauge", "histogram"};
      page += fmt::format("| `{}` | {} | {} |\n", spec->name, kKinds[static_cast<size_t>(spec->kind)], spec->meaning);
    }
    page += '\n';
  }
  return page;
}

std::string keys_page() {
  std::string page = kKeysHead;
  const auto add = [&](const char* title, const char* name, std::span<const NameForm* const> forms, const char* text) {
    page += fmt::format("## {}\n\n| {} | written by | holds |\n|---|---|---|\n", title, name);
    for (const NameForm* form : forms)
      page += fmt::format("| `{}` | {} | {} |\n", form->text, form->writer, form->meaning);
    page += text;
  };
  add("Keys of the registry", "key", discovery::kAllKeys, kKeysText);
  page += '\n';
  add("Subjects of the event bus", "subject", events::kAllSubjects, kSubjectsText);
  return page;
}

}  // namespace

Command docs_command(const Command* program) {
  auto page = std::make_shared<std::string>();
  Command command{.name = "docs", .meaning = "Print a page of docs/reference: flags, metrics or keys"};
  command.options.add("page", one_of(page.get(), {"flags", "metrics", "keys"}), "flags, metrics or keys").required();
  command.run = [=] {
    print(*page == "flags" ? kFlagsHead + help_pages(*program) : *page == "metrics" ? metrics_page() : keys_page());
    return 0;
  };
  return command;
}

}  // namespace dynamo::apps
