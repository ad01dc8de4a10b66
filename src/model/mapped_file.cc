#include "model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace dynamo::model {
namespace {

Status cannot_open(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) return not_found(path + ": there is no such file");
  return invalid(path + ": cannot be opened: " + std::strerror(error));
}

Result<std::span<const std::byte>> map(const std::string& path, int file) {
  struct stat facts{};
  if (fstat(file, &facts) != 0) return cannot_open(path, errno);
  if (S_ISDIR(facts.st_mode)) return invalid(path + ": is a folder; a file was expected");
  if (!S_ISREG(facts.st_mode)) return invalid(path + ": is not a regular file");
  if (facts.st_size == 0) return corrupt(path + ": the file is empty");
  const auto size = static_cast<size_t>(facts.st_size);
  void* start = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (start == MAP_FAILED) return invalid(path + ": cannot be mapped: " + std::strerror(errno));
  return std::span(static_cast<const std::byte*>(start), size);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO must not make us wait
  if (file < 0) return cannot_open(path, errno);
  auto bytes = map(path, file);
  ::close(file);  // the mapping keeps the file
  TRY(const auto mapped, std::move(bytes));
  return MappedFile(path, mapped);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace dynamo::model
