#include "model/hf_cache.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "model/mapped_file.h"
#include "model/quote_name.h"

namespace dynamo::model {
namespace {

namespace fs = std::filesystem;

Result<std::string> revision_of_main(const fs::path& reference) {
  TRY(const MappedFile file, MappedFile::open(reference.string()));
  std::string_view revision = file.text();
  while (!revision.empty() && std::string_view(" \r\n\t").find(revision.back()) != std::string_view::npos) {
    revision.remove_suffix(1);
  }
  if (!is_plain_name(revision))
    return invalid(file.path() + ": names revision " + quote_name(revision) + ", which is no folder's name");
  return std::string(revision);
}

Result<std::string> only_snapshot(const fs::path& snapshots) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(snapshots, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
    if (names.size() > 1)
      return invalid(snapshots.string() + ": has several snapshots and no refs/main; name one of them");
  }
  if (names.empty()) return not_found(snapshots.string() + ": has no snapshot");
  return names.front();
}

}  // namespace

bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(),
                      [](char letter) { return letter == '/' || letter == '\\' || letter == '\0'; });
}

Result<std::string> find_model_folder(const std::string& folder) {
  const fs::path root(folder);
  std::error_code ignored;
  if (fs::exists(root / "config.json", ignored)) return folder;
  if (!fs::is_directory(root / "snapshots", ignored)) {
    return not_found(folder + ": has no config.json; expected a Hugging Face folder or a .gguf file");
  }
  const fs::path reference = root / "refs" / "main";
  TRY(const std::string revision,
      fs::exists(reference, ignored) ? revision_of_main(reference) : only_snapshot(root / "snapshots"));
  const fs::path snapshot = root / "snapshots" / revision;
  if (!fs::exists(snapshot / "config.json", ignored)) return not_found(snapshot.string() + ": has no config.json");
  return snapshot.string();
}

}  // namespace dynamo::model
