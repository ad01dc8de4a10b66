#include "json/parse.h"

#include <new>

#include <fmt/format.h>
#include <boost/json/parser.hpp>

#include "base/check.h"
#include "json/problem.h"

namespace dynamo::json {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Gives memory until its budget is spent. Throws std::bad_alloc then, as the interface asks; parse() catches it.
class BudgetResource final : public boost::json::memory_resource {
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
  bool do_is_equal(const boost::json::memory_resource& other) const noexcept override { return this == &other; }

  size_t left_;
};

ParseFailure failure_of(const boost::system::error_code& code, size_t position, size_t size) {
  using enum ParseFailure::Kind;
  const bool is_short = code == boost::json::error::incomplete || position >= size;
  const auto kind = code == boost::json::error::too_deep ? kTooDeep : is_short ? kEndsEarly : kSyntax;
  return {kind, position, code.message()};
}

}  // namespace

std::optional<ParseFailure> parse(std::string_view text, const ParseOptions& options, std::optional<value>* out) {
  const bool is_limited = options.max_memory > 0;
  const storage_ptr memory =
      is_limited ? boost::json::make_shared_resource<BudgetResource>(options.max_memory) : options.memory;
  boost::json::parse_options limits;
  limits.max_depth = options.max_depth;
  try {
    boost::json::parser parser(is_limited ? memory : storage_ptr(), limits);  // its own scratch memory
    parser.reset(memory);
    boost::system::error_code code;
    const size_t start = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
    const size_t read = start + parser.write_some(text.data() + start, text.size() - start, code);
    if (code) return failure_of(code, read, text.size());
    const size_t rest = text.find_first_not_of(" \t\r\n", read);
    if (rest != std::string_view::npos) return ParseFailure{ParseFailure::Kind::kGoesOn, rest, "something follows"};
    out->emplace(parser.release());
    return std::nullopt;
  } catch (const std::exception&) {  // the budget's, or a length past what the library can hold
    return ParseFailure{ParseFailure::Kind::kTooLarge, text.size(), "too many values"};
  }
}

Result<value> parse(std::string_view text, const ParseOptions& options) {
  std::optional<value> out;
  const auto failure = parse(text, options, &out);
  if (failure) return corrupt(fmt::format("at byte {}: not valid JSON: {}", failure->position, failure->what));
  return *std::move(out);
}

Result<value> parse_object(std::string_view text, const ParseOptions& options) {
  TRY(value document, parse(text, options));
  if (!document.is_object())
    return corrupt(fmt::format("is JSON of type {}; expected an object", type_name(document.kind())));
  return document;
}

}  // namespace dynamo::json
