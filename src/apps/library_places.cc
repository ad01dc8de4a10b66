#include "apps/library_places.h"

#include <glob.h>

#include <algorithm>
#include <cstdlib>
#include <span>

#include "transfer/nixl/nixl_api.h"

namespace dynamo::apps {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::vector<std::string> library_prefixes(const std::vector<const char*>& variables) {
  std::vector<std::string> prefixes;
  for (const char* name : variables) {
    if (std::string prefix = variable(name); !prefix.empty()) prefixes.push_back(std::move(prefix));
  }
  for (std::string& prefix : transfer::nixl::python_prefixes(variable("PATH"))) {
    if (std::ranges::find(prefixes, prefix) == prefixes.end()) prefixes.push_back(std::move(prefix));
  }
  return prefixes;
}

std::vector<std::string> cuda_folders() {
  std::vector<std::string> folders;
  if (const std::string toolkit = variable("CUDA_HOME"); !toolkit.empty()) folders.push_back(toolkit + "/lib64");
  for (const std::string& prefix : library_prefixes({"VIRTUAL_ENV", "CONDA_PREFIX"})) {
    glob_t found{};
    const std::string pattern = prefix + "/lib/python3*/*-packages/nvidia/cu13/lib";
    if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
      for (const char* folder : std::span(found.gl_pathv, found.gl_pathc)) folders.emplace_back(folder);
    }
    ::globfree(&found);
  }
  return folders;
}

}  // namespace dynamo::apps
