#include "transfer/nixl/nixl_api.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dynamo::transfer::nixl {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "libnixl_capi.so";

// NIXL's wheel brings a gRPC and a protobuf of its own, which must not be mixed with those that this program has: without DEEPBIND
// the program's come first, and NIXL aborts while it is loaded. The sanitizers refuse it, and meet only the tests' fake.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kLoading = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kLoading = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

// Below a prefix.
constexpr std::array kLibraryFolders = {"lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"};
constexpr std::array kPythonFolders = {"lib", "lib64", "local/lib"};

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

void add_prefix(const fs::path& prefix, std::vector<std::string>* files) {
  for (const char* folder : kLibraryFolders) files->push_back((prefix / folder / kFile).string());
  for (const char* folder : kPythonFolders) {
    std::error_code ignored;
    if (fs::is_symlink(prefix / folder, ignored)) continue;  // lib64 of a virtual environment
    for (const fs::path& python : python_folders(prefix / folder)) {
      for (const char* packages : {"site-packages", "dist-packages"}) {
        if (fs::is_directory(python / packages, ignored)) add_wheel(python / packages, files);
      }
    }
  }
}

std::string not_found_text(const NixlLibrary& library) {
  if (!library.file.empty()) return fmt::format("there is no {}, which --nixl-lib names", library.file);
  std::string text = fmt::format("NIXL's {} is not where the loader looks", kFile);
  if (!library.prefixes.empty())
    text += fmt::format(", and below none of {} in {} or the wheels nixl-cu13 and nixl-cu12 of {}/python3*",
                        fmt::join(library.prefixes, ", "), fmt::join(kLibraryFolders, ", "),
                        fmt::join(kPythonFolders, "/python3*, "));
  return text +
         "; --nixl-lib names the file, $NIXL_PREFIX, $VIRTUAL_ENV, $CONDA_PREFIX and $PATH places to look in, and "
         "'pip install --no-deps nixl-cu13' brings it";
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

std::vector<std::string> candidates(const NixlLibrary& library) {
  if (!library.file.empty()) return {library.file};
  std::vector<std::string> files;
  for (const std::string& prefix : library.prefixes) add_prefix(prefix, &files);
  files.emplace_back(kFile);
  return files;
}

Result<Api> load(const NixlLibrary& library) {
  for (const std::string& file : candidates(library)) {
    const bool is_bare = file == kFile && library.file.empty();
    std::error_code ignored;
    if (!is_bare && !fs::exists(file, ignored)) continue;
    // Absolute, for dlopen() looks for a bare name in the system's folders instead.
    const std::string path = is_bare ? file : fs::absolute(file, ignored).string();
    void* handle = dlopen(path.c_str(), kLoading);
    if (handle == nullptr) {
      if (is_bare) continue;
      return unavailable(fmt::format("{} cannot be loaded: {}", path, dlerror()));
    }
    Api api{};
    api.path = path;
    if (const std::string missing = fill(handle, &api); !missing.empty())
      return unsupported(fmt::format("{} exports no function {}; NIXL 1.x does", path, missing));
    if (Dl_info where{}; is_bare && dladdr(reinterpret_cast<void*>(api.destroy_agent), &where) != 0)
      api.path = where.dli_fname;
    return api;
  }
  return not_found(not_found_text(library));
}

std::vector<std::string> python_prefixes(std::string_view path) {
  std::vector<std::string> prefixes;
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
    if (std::ranges::find(prefixes, prefix.string()) == prefixes.end()) prefixes.push_back(prefix.string());
  }
  return prefixes;
}

}  // namespace dynamo::transfer::nixl
