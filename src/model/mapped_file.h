// A file mapped for reading: its pages are read when they are touched and can be dropped at any time.
// The file must not be shortened while it is mapped: reading past its new end stops the program (SIGBUS).
// Threads: immutable after open(); any thread.  Private to the module.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::model {

class MappedFile {
 public:
  // Errors: kNotFound (no such file), kInvalid (a folder, a device, not readable), kCorrupt (empty); all name the path.
  static Result<MappedFile> open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

 private:
  MappedFile(std::string path, std::span<const std::byte> bytes) : path_(std::move(path)), bytes_(bytes) {}
  std::string path_;
  std::span<const std::byte> bytes_;
};

}  // namespace dynamo::model
