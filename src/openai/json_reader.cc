#include "openai/json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>

#include <boost/json/parser.hpp>

#include "base/check.h"

namespace dynamo::openai {
namespace {

namespace json = boost::json;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// What the values of one body may take in memory: far more than any context's worth of token ids, far less than the
// 16-fold that a body of the largest size could ask for.
constexpr size_t kMaxBodyMemory = 256U << 20;

// Gives memory until its budget is spent. Throws std::bad_alloc then, as the interface asks; parse_body catches it.
class BudgetResource final : public json::memory_resource {
 public:
  explicit BudgetResource(size_t budget) : left_(budget) {}

 private:
  // Boost.JSON gives memory back with another alignment than it asked for, so neither counts here: all it asks for is
  // within what operator new keeps anyway.
  void* do_allocate(size_t size, [[maybe_unused]] size_t align) override {
    DCHECK(align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    if (size > left_) throw std::bad_alloc();
    left_ -= size;
    return ::operator new(size);
  }
  void do_deallocate(void* place, size_t size, size_t) override {
    left_ += size;
    ::operator delete(place);
  }
  bool do_is_equal(const json::memory_resource& other) const noexcept override { return this == &other; }

  size_t left_;
};

ApiError bad_body(std::string message) {
  ApiError error;
  error.message = std::move(message);
  error.error_code = "invalid_json";
  return error;
}

std::string describe_parse_error(const boost::system::error_code& code, size_t position, size_t size,
                                 uint32_t max_depth) {
  if (code == json::error::too_deep) {
    return fmt::format("The request body is nested too deep: more than {} levels, at byte {}.", max_depth, position);
  }
  if (code == json::error::incomplete || position >= size) {
    return fmt::format("The request body is not valid JSON: it ends too early, after {} bytes.", size);
  }
  return fmt::format("The request body is not valid JSON: {} at byte {}.", code.message(), position);
}

// Parses into `out`. Returns: what is wrong, or an empty text.
std::string parse(std::string_view body, uint32_t max_depth, std::optional<json::value>* out) {
  const json::storage_ptr memory = json::make_shared_resource<BudgetResource>(kMaxBodyMemory);
  json::parse_options options;
  options.max_depth = max_depth;
  try {
    json::parser parser(memory, options);
    parser.reset(memory);
    boost::system::error_code code;
    // A byte order mark, which editors and PowerShell put in front, is skipped (RFC 8259, section 8.1).
    const size_t start = body.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
    const size_t read = start + parser.write_some(body.data() + start, body.size() - start, code);
    if (code) return describe_parse_error(code, read, body.size(), max_depth);
    const size_t rest = body.find_first_not_of(" \t\r\n", read);
    if (rest != std::string_view::npos) {
      return fmt::format("The request body is not valid JSON: something follows its end at byte {}.", rest);
    }
    out->emplace(parser.release());
    return "";
  } catch (const std::exception&) {  // the budget's, or a length past what the library can hold
    return fmt::format("The request body has too many values: they take more than {} MiB.", kMaxBodyMemory >> 20);
  }
}

template <class T>
std::string range_text(std::string_view kind, T min, T max, bool excludes_min = false) {
  return fmt::format("{} {} {} to {}", kind, excludes_min ? "above" : "from", min, max);
}

}  // namespace

std::optional<ApiError> parse_body(std::string_view body, uint32_t max_depth, std::optional<json::value>* out) {
  if (body.empty()) return bad_body("The request body is empty; a JSON object was expected.");
  if (std::string wrong = parse(body, max_depth, out); !wrong.empty()) return bad_body(std::move(wrong));
  if ((*out)->is_object()) return std::nullopt;
  return bad_body(fmt::format("The request body must be a JSON object, but it is {}.", describe_type(**out)));
}

std::string_view describe_type(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
      return "an integer";
    case json::kind::double_:
      return "a number with a fraction";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "unknown";
}

std::string shorten(std::string_view text) {
  constexpr size_t kMost = 64;
  if (text.size() <= kMost) return std::string(text);
  size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return fmt::format("{}...", text.substr(0, end));
}

std::string quote(std::string_view text) {
  return fmt::format("'{}'", shorten(text));
}

void RequestError::set(ApiError error) {
  if (!error_) error_ = std::move(error);
}

void RequestError::wrong_type(const std::string& path, std::string_view expected, const json::value& got) {
  const auto message =
      fmt::format("Invalid type for '{}': expected {}, but got {} instead.", path, expected, describe_type(got));
  set(ApiError{Code::kInvalid, message, path, "invalid_type"});
}

void RequestError::wrong_value(const std::string& path, std::string_view expected, std::string_view got) {
  const auto message = fmt::format("Invalid value for '{}': expected {}, but got {}.", path, expected, got);
  set(ApiError{Code::kInvalid, message, path, "invalid_value"});
}

void RequestError::missing(const std::string& path) {
  set(ApiError{Code::kInvalid, fmt::format("Missing required parameter: '{}'.", path), path,
               "missing_required_parameter"});
}

void RequestError::unsupported(const std::string& path, std::string_view why) {
  set(ApiError{Code::kUnsupported, fmt::format("Unsupported parameter: '{}'. {}", path, why), path, ""});
}

std::string ObjectReader::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

const json::value* ObjectReader::value(std::string_view name) {
  known_.push_back(name);
  const json::value* found = object_.if_contains(json::string_view(name.data(), name.size()));
  return found && !found->is_null() ? found : nullptr;
}

std::optional<bool> ObjectReader::boolean(std::string_view name) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  if (const bool* flag = found->if_bool()) return *flag;
  error_->wrong_type(path_of(name), "a boolean", *found);
  return std::nullopt;
}

std::optional<int64_t> ObjectReader::integer(std::string_view name, int64_t min, int64_t max) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  return read_integer(*found, path_of(name), min, max, error_);
}

std::optional<double> ObjectReader::number(std::string_view name, double min, double max, bool excludes_min) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  if (!found->is_number()) {
    error_->wrong_type(path_of(name), "a number", *found);
    return std::nullopt;
  }
  const double number = found->is_double()  ? found->get_double()
                        : found->is_int64() ? static_cast<double>(found->get_int64())
                                            : static_cast<double>(found->get_uint64());
  if (number >= min && number <= max && !(excludes_min && number == min)) return number;
  error_->wrong_value(path_of(name), range_text("a number", min, max, excludes_min), fmt::format("{}", number));
  return std::nullopt;
}

std::optional<std::string_view> ObjectReader::string(std::string_view name) {
  const json::value* found = value(name);
  if (!found) return std::nullopt;
  if (const json::string* text = found->if_string()) return std::string_view(text->data(), text->size());
  error_->wrong_type(path_of(name), "a string", *found);
  return std::nullopt;
}

const json::object* ObjectReader::object(std::string_view name) {
  const json::value* found = value(name);
  if (!found) return nullptr;
  if (const json::object* object = found->if_object()) return object;
  error_->wrong_type(path_of(name), "an object", *found);
  return nullptr;
}

const json::array* ObjectReader::array(std::string_view name) {
  const json::value* found = value(name);
  if (!found) return nullptr;
  if (const json::array* array = found->if_array()) return array;
  error_->wrong_type(path_of(name), "an array", *found);
  return nullptr;
}

std::optional<std::string_view> ObjectReader::required_string(std::string_view name) {
  if (!value(name)) error_->missing(path_of(name));
  return string(name);
}

void ObjectReader::only(std::string_view name, std::string_view allowed, std::string_view why) {
  const auto text = string(name);
  if (text && *text != allowed) error_->unsupported(path_of(name), why);
}

void ObjectReader::refuse(std::string_view name, std::string_view why) {
  if (value(name)) error_->unsupported(path_of(name), why);
}

void ObjectReader::refuse_unknown() {
  if (error_->has_value()) return;
  for (const auto& member : object_) {
    const std::string_view name(member.key().data(), member.key().size());
    if (member.value().is_null() || std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    error_->unsupported(path_of(shorten(name)), "This server does not know it.");
    return;
  }
}

std::optional<int64_t> whole_number(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (!value.is_double()) return std::nullopt;
  const double number = value.get_double();
  if (std::trunc(number) != number || std::abs(number) >= 0x1p63) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::optional<int64_t> read_integer(const json::value& value, const std::string& path, int64_t min, int64_t max,
                                    RequestError* error) {
  if (const auto integer = whole_number(value)) {
    if (*integer >= min && *integer <= max) return integer;
    error->wrong_value(path, range_text("an integer", min, max), fmt::format("{}", *integer));
  } else if (value.is_uint64()) {
    error->wrong_value(path, range_text("an integer", min, max), fmt::format("{}", value.get_uint64()));
  } else if (value.is_double() && std::trunc(value.get_double()) == value.get_double()) {
    error->wrong_value(path, range_text("an integer", min, max), fmt::format("{}", value.get_double()));
  } else {
    error->wrong_type(path, "an integer", value);
  }
  return std::nullopt;
}

}  // namespace dynamo::openai
