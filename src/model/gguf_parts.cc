#include "model/gguf_parts.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo::model {
namespace {

constexpr std::string_view kExtension = ".gguf";
constexpr std::string_view kOf = "-of-";
constexpr size_t kDigits = 5;

// Where a file says that it stands.
struct Place {
  uint64_t index = 0;
  uint64_t count = 1;
};

Result<Place> place_of(const GgufFile& file) {
  TRY(const auto index, file.find_unsigned("split.no"));
  TRY(const auto count, file.find_unsigned("split.count"));
  const Place place{index.value_or(0), std::max<uint64_t>(count.value_or(1), 1)};
  if (place.index < place.count) return place;
  return corrupt(fmt::format("metadata 'split.no' is {}, but 'split.count' {}; expected 0 to {}", place.index,
                             place.count, place.count - 1));
}

// The number that `text` ends with; it is cut off. Nothing if there are not five digits.
std::optional<uint32_t> take_number(std::string_view* text) {
  if (text->size() < kDigits) return std::nullopt;
  const std::string_view digits = text->substr(text->size() - kDigits);
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + kDigits, number);
  if (error != std::errc() || end != digits.data() + kDigits) return std::nullopt;
  text->remove_suffix(kDigits);
  return number;
}

bool take_suffix(std::string_view suffix, std::string_view* text) {
  if (!text->ends_with(suffix)) return false;
  text->remove_suffix(suffix.size());
  return true;
}

Status check_part(const GgufFile& file, size_t index, size_t count) {
  TRY(const Place place, place_of(file));
  if (place.count != count) {
    return corrupt(
        fmt::format("says that its model has {} parts (metadata 'split.count'); expected {}", place.count, count));
  }
  if (place.index != index) {
    return corrupt(fmt::format("says that it is part {} of {} (metadata 'split.no', from 0); expected part {}",
                               place.index + 1, count, index + 1));
  }
  return {};
}

Status check_tensor_count(const GgufFile& file, size_t tensors) {
  TRY(const auto claimed, file.find_unsigned("split.tensors.count"));
  if (claimed.value_or(tensors) == tensors) return {};
  return corrupt(
      fmt::format("says that the parts of its model have {} tensors together (metadata 'split.tensors.count'), "
                  "but they have {}; they are not of one model",
                  *claimed, tensors));
}

Result<GgufPart> parse_part(const MappedFile& file) {
  auto parsed = GgufFile::parse(file.bytes());
  if (!parsed.is_ok()) return parsed.status().with(file.path());
  return GgufPart{file.path(), std::move(parsed).value()};
}

// The path that leads to all parts of the model that `part` belongs to.
Result<GgufPartPath> path_of(const GgufPart& part, const Place& place) {
  const auto path = parse_gguf_part_path(part.name);
  if (!path) {
    return invalid(
        fmt::format("{}: is part {} of {} of a model, and the others are found by its name; expected "
                    "NAME-{:05}-of-{:05}.gguf",
                    part.name, place.index + 1, place.count, place.index + 1, place.count));
  }
  if (path->number == place.index + 1 && path->count == place.count) return *path;
  return corrupt(fmt::format("{}: its name says part {} of {}, but its metadata part {} of {}", part.name, path->number,
                             path->count, place.index + 1, place.count));
}

}  // namespace

std::string GgufPartPath::to_string() const {
  return fmt::format("{}-{:05}-of-{:05}.gguf", stem, number, count);
}

std::optional<GgufPartPath> parse_gguf_part_path(std::string_view path) {
  GgufPartPath parsed;
  if (!take_suffix(kExtension, &path)) return std::nullopt;
  const auto count = take_number(&path);
  if (!count || !take_suffix(kOf, &path)) return std::nullopt;
  const auto number = take_number(&path);
  if (!number || !take_suffix("-", &path)) return std::nullopt;
  if (*number < 1 || *number > *count) return std::nullopt;
  return GgufPartPath{std::string(path), *number, *count};
}

Result<GgufFile> join_gguf(std::vector<GgufPart> parts) {
  CHECK(!parts.empty());
  size_t tensors = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Status status = check_part(parts[i].file, i, parts.size());
    if (!status.is_ok()) return status.with(parts[i].name);
    tensors += parts[i].file.tensors().size();
  }
  for (const GgufPart& part : parts) {
    const Status status = check_tensor_count(part.file, tensors);
    if (!status.is_ok()) return status.with(part.name);
  }
  GgufFile all = std::move(parts.front().file);
  for (size_t i = 1; i < parts.size(); ++i) {
    const Status status = all.add_tensors(parts[i].file);
    if (!status.is_ok()) return status.with(parts[i].name);
  }
  return all;
}

Result<GgufParts> open_gguf_parts(const std::string& path) {
  GgufParts opened;
  std::vector<GgufPart> parts;
  TRY(MappedFile named, MappedFile::open(path));
  TRY(GgufPart named_part, parse_part(named));
  const auto place = place_of(named_part.file);
  if (!place.is_ok()) return place.status().with(path);
  if (place->count == 1) {
    opened.files.push_back(std::move(named));
    opened.all = std::move(named_part.file);
    return opened;
  }
  TRY(GgufPartPath part_path, path_of(named_part, *place));
  for (part_path.number = 1; part_path.number <= part_path.count; ++part_path.number) {
    if (part_path.number == place->index + 1) {
      opened.files.push_back(std::move(named));
      parts.push_back(std::move(named_part));
      continue;
    }
    auto file = MappedFile::open(part_path.to_string());
    if (!file.is_ok()) {
      return file.status().with(
          fmt::format("{} is part {} of {} of a model, and all are needed", path, place->index + 1, place->count));
    }
    TRY(GgufPart part, parse_part(*file));
    opened.files.push_back(std::move(file).value());
    parts.push_back(std::move(part));
  }
  TRY(opened.all, join_gguf(std::move(parts)));
  return opened;
}

}  // namespace dynamo::model
