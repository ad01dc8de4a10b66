#include "transfer/nixl/nixl_api.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dynamo::transfer::nixl {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "libnixl_capi.so";

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == 0) return std::nullopt;
  return value;
}

// The folders of `parent` whose names begin with "python3", in order of name.
std::vector<fs::path> python_folders(const fs::path& parent) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (auto it = fs::directory_iterator(parent, failed); !failed && it != fs::directory_iterator();
       it.increment(failed)) {
    if (it->path().filename().string().starts_with("python3")) found.push_back(it->path());
  }
  std::ranges::sort(found);
  return found;
}

void add_wheel(const fs::path& packages, std::vector<std::string>* files) {
  for (const char* version : {"13", "12"})
    files->push_back((packages / fmt::format(".nixl_cu{}.mesonpy.libs", version) / kFile).string());
}

void add_python(const fs::path& prefix, std::vector<std::string>* files) {
  const size_t before = files->size();
  for (const fs::path& lib : {prefix / "lib", prefix / "lib64", prefix / "local" / "lib"}) {
    std::error_code ignored;
    if (fs::is_symlink(lib, ignored)) continue;  // lib64 of a virtual environment
    for (const fs::path& python : python_folders(lib)) {
      for (const char* packages : {"site-packages", "dist-packages"}) {
        if (fs::is_directory(python / packages, ignored)) add_wheel(python / packages, files);
      }
    }
  }
  // None: what would be there, for who reads the list.
  if (files->size() == before) add_wheel(prefix / "lib" / "python3*" / "site-packages", files);
}

// The prefixes that the python3 of each folder of `path` belong to; none is run.
std::vector<fs::path> pythons_in(std::string_view path) {
  std::vector<fs::path> prefixes;
  while (!path.empty()) {
    const size_t end = std::min(path.find(':'), path.size());
    const fs::path bin(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
    std::error_code failed;
    if (bin.empty() || !fs::exists(bin / "python3", failed)) continue;
    fs::path prefix = bin.parent_path();
    // A virtual environment's python3 is a link to the one it was made with.
    if (!fs::exists(prefix / "pyvenv.cfg", failed)) {
      const fs::path real = fs::canonical(bin / "python3", failed);
      if (!failed) prefix = real.parent_path().parent_path();
    }
    if (std::ranges::find(prefixes, prefix) == prefixes.end()) prefixes.push_back(prefix);
  }
  return prefixes;
}

// Looks up each function of `api`; returns the name of the first that is missing, empty if none is.
std::string fill(void* library, Api* api) {
  std::string missing;
  const auto find = [&]<class F>(const char* name, F*& function) {
    const std::string symbol = fmt::format("nixl_capi_{}", name);
    function = reinterpret_cast<F*>(dlsym(library, symbol.c_str()));
    if (function == nullptr && missing.empty()) missing = symbol;
  };
#define DYNAMO_NIXL_FIND(name) find(#name, api->name)
  DYNAMO_NIXL_FIND(create_configured_agent);
  DYNAMO_NIXL_FIND(destroy_agent);
  DYNAMO_NIXL_FIND(get_plugin_params);
  DYNAMO_NIXL_FIND(destroy_mem_list);
  DYNAMO_NIXL_FIND(params_add);
  DYNAMO_NIXL_FIND(destroy_params);
  DYNAMO_NIXL_FIND(create_backend);
  DYNAMO_NIXL_FIND(destroy_backend);
  DYNAMO_NIXL_FIND(create_opt_args);
  DYNAMO_NIXL_FIND(destroy_opt_args);
  DYNAMO_NIXL_FIND(opt_args_add_backend);
  DYNAMO_NIXL_FIND(create_reg_dlist);
  DYNAMO_NIXL_FIND(destroy_reg_dlist);
  DYNAMO_NIXL_FIND(reg_dlist_add_desc);
  DYNAMO_NIXL_FIND(register_mem);
  DYNAMO_NIXL_FIND(deregister_mem);
  DYNAMO_NIXL_FIND(get_local_md);
  DYNAMO_NIXL_FIND(load_remote_md);
  DYNAMO_NIXL_FIND(invalidate_remote_md);
  DYNAMO_NIXL_FIND(create_xfer_dlist);
  DYNAMO_NIXL_FIND(destroy_xfer_dlist);
  DYNAMO_NIXL_FIND(xfer_dlist_add_desc);
  DYNAMO_NIXL_FIND(create_xfer_req);
  DYNAMO_NIXL_FIND(post_xfer_req);
  DYNAMO_NIXL_FIND(get_xfer_status);
  DYNAMO_NIXL_FIND(release_xfer_req);
  DYNAMO_NIXL_FIND(destroy_xfer_req);
  DYNAMO_NIXL_FIND(gen_notif);
  DYNAMO_NIXL_FIND(create_notif_map);
  DYNAMO_NIXL_FIND(destroy_notif_map);
  DYNAMO_NIXL_FIND(get_notifs);
  DYNAMO_NIXL_FIND(notif_map_size);
  DYNAMO_NIXL_FIND(notif_map_get_agent_at);
  DYNAMO_NIXL_FIND(notif_map_get_notifs_size);
  DYNAMO_NIXL_FIND(notif_map_get_notif);
  DYNAMO_NIXL_FIND(notif_map_clear);
#undef DYNAMO_NIXL_FIND
  api->free_metadata = reinterpret_cast<void (*)(void*)>(dlsym(library, "nixl_capi_mem_free"));
  if (api->free_metadata == nullptr) api->free_metadata = &std::free;
  return missing;
}

}  // namespace

std::string say_code(int code) {
  constexpr std::pair<int, const char*> kNames[] = {{kInvalidParam, "invalid parameter"}, {kBackend, "backend"},
                                                    {kInvalidState, "invalid state"},     {kException, "exception"},
                                                    {kNoTelemetry, "no telemetry"},       {kMissing, "not found"}};
  for (const auto& [known, name] : kNames) {
    if (known == code) return fmt::format("NIXL answered '{}' ({})", name, code);
  }
  return fmt::format("NIXL answered {}", code);
}

Places places(const std::string& named) {
  Places places;
  if (!named.empty()) {
    places.files.push_back(named);
    return places;
  }
  if (const auto prefix = variable("NIXL_PREFIX")) {
    for (const char* lib : {"lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"})
      places.files.push_back((fs::path(*prefix) / lib / kFile).string());
  } else {
    places.not_told.push_back("NIXL_PREFIX");
  }
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const auto prefix = variable(name)) {
      add_python(*prefix, &places.files);
    } else {
      places.not_told.push_back(name);
    }
  }
  for (const fs::path& prefix : pythons_in(variable("PATH").value_or(""))) add_python(prefix, &places.files);
  places.files.push_back(kFile);
  return places;
}

Result<Api> load(const std::string& named) {
  const Places tried = places(named);
  for (const std::string& file : tried.files) {
    const bool is_bare = file == kFile && named.empty();
    std::error_code ignored;
    if (!is_bare && !fs::exists(file, ignored)) continue;
    // Absolute, for dlopen() looks for a bare name in the system's folders instead.
    const std::string path = is_bare ? file : fs::absolute(file, ignored).string();
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      if (is_bare) continue;
      return unavailable(fmt::format("{} cannot be loaded: {}", path, dlerror()));
    }
    Api api{};
    api.path = path;
    if (const std::string missing = fill(library, &api); !missing.empty())
      return unsupported(fmt::format("{} exports no function {}; NIXL 1.x does", path, missing));
    if (Dl_info where{}; is_bare && dladdr(reinterpret_cast<void*>(api.destroy_agent), &where) != 0)
      api.path = where.dli_fname;
    return api;
  }
  std::string text = fmt::format("NIXL's {} is in none of: {}", kFile, fmt::join(tried.files, ", "));
  if (!tried.not_told.empty()) text += fmt::format(" (not set: {})", fmt::join(tried.not_told, ", "));
  if (named.empty()) text += "; --nixl-lib names it, and 'pip install --no-deps nixl-cu13' brings it";
  return not_found(text);
}

}  // namespace dynamo::transfer::nixl
