// Finds the folder that holds a model's files.
// Layout: huggingface_hub's cache, models--ORG--NAME/{refs/main, snapshots/REVISION/}.  Threads: pure functions.
// Private to the module.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::model {

// `folder` itself if it has a config.json, else the snapshot in it. Errors: kNotFound (no config.json, and no
// snapshots), kInvalid (several snapshots and no refs/main; a refs/main that is no plain name).
Result<std::string> find_model_folder(const std::string& folder);

// A name without separators, and not "." or "..": joined to a folder it stays inside.
bool is_plain_name(std::string_view name);

}  // namespace dynamo::model
