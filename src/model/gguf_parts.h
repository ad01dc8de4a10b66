// A GGUF model that was split into several files, as one.
//
// The parts are NAME-00001-of-00003.gguf, NAME-00002-of-00003.gguf, ... in one folder. Each is a GGUF file of its own and
// says which it is (split.no, from 0), how many there are (split.count) and how many tensors they have together
// (split.tensors.count). The metadata is that of the first; the tensors are anywhere, in the first perhaps none.
// Format: llama.cpp's gguf-split.  Threads: immutable once opened; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/gguf.h"
#include "model/mapped_file.h"

namespace dynamo::model {

// What the path of a part says.
struct GgufPartPath {
  std::string stem;     // "/models/NAME"
  uint32_t number = 1;  // from 1
  uint32_t count = 1;
  std::string to_string() const;
};
// Nothing if `path` is not that of a part.
std::optional<GgufPartPath> parse_gguf_part_path(std::string_view path);

// A part and what errors call it.
struct GgufPart {
  std::string name;
  GgufFile file;
};
// The parts, in order, as one file; a file that was not split is one part. Requires: `parts` is not empty. Errors:
// kCorrupt names the part, and what shows that it is none of this model (its place, a count, a tensor that is there twice).
Result<GgufFile> join_gguf(std::vector<GgufPart> parts);

struct GgufParts {
  std::vector<MappedFile> files;
  GgufFile all;  // views into the files
};
// Maps the file and, if it is a part, the others beside it, whichever of them it is. Errors: kNotFound (no such file; a
// part that is missing, by path), kInvalid (a part whose name does not lead to the others), those of GgufFile::parse() and
// join_gguf(); all with the path.
Result<GgufParts> open_gguf_parts(const std::string& path);

}  // namespace dynamo::model
