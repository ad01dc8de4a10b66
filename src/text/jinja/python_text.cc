#include "text/jinja/python_text.h"

#include <algorithm>

#include "text/jinja/character_tables.h"
#include "text/jinja/value.h"
#include "text/utf8.h"

namespace dynamo::text::jinja {
namespace {

constexpr char32_t kSigma = 0x3A3;
constexpr char32_t kNone = 0x110000;  // bytes that are no character

enum class Mapping { kUpper, kLower, kTitle };

char32_t point_of(std::string_view character) {
  const Utf8Step step = read_utf8(character);
  return step.kind == Utf8Kind::kCharacter ? valid_character(character.data()).code_point : kNone;
}

uint16_t classes(char32_t point) {
  if (point >= kNone) return 0;
  const auto ranges = flag_ranges();
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), point,
                                      [](char32_t value, const FlagRange& range) { return value < range.first; });
  return (after - 1)->flags;
}

template <class T>
T pick(Mapping mapping, T upper, T lower, T title) {
  return mapping == Mapping::kUpper ? upper : mapping == Mapping::kLower ? lower : title;
}

void append_mapped(std::string_view character, Mapping mapping, std::string* out) {
  const char32_t point = point_of(character);
  const auto special = special_cases();
  const auto found = std::lower_bound(special.begin(), special.end(), point,
                                      [](const SpecialCase& row, char32_t value) { return row.point < value; });
  if (found != special.end() && found->point == point) {
    *out += pick(mapping, found->upper, found->lower, found->title);
    return;
  }
  const auto runs = case_runs();
  auto run = std::upper_bound(runs.begin(), runs.end(), point,
                              [](char32_t value, const CaseRun& row) { return value < row.first; });
  for (int looked = 0; looked < 3 && run != runs.begin(); ++looked) {
    --run;
    if (point > run->last || (point - run->first) % run->step != 0) continue;
    append_character(point + pick(mapping, run->upper, run->lower, run->title), out);
    return;
  }
  *out += character;
}

// Whether a sigma at `at` ends its word: a cased letter before it and none after, those that are skipped aside.
bool is_final_sigma(const std::vector<std::string_view>& all, size_t at) {
  const auto is_cased_first = [&](auto begin, auto end) {
    const auto first = std::find_if(begin, end, [](std::string_view c) { return !(classes_of(c) & kSkipped); });
    return first != end && (classes_of(*first) & kCased) != 0;
  };
  const auto place = all.begin() + static_cast<ptrdiff_t>(at);
  return is_cased_first(std::make_reverse_iterator(place), all.rend()) && !is_cased_first(place + 1, all.end());
}

void append_lower(const std::vector<std::string_view>& all, size_t at, std::string* out) {
  if (point_of(all[at]) == kSigma) {
    append_character(is_final_sigma(all, at) ? 0x3C2 : 0x3C3, out);
  } else {
    append_mapped(all[at], Mapping::kLower, out);
  }
}

bool is_all(std::string_view text, uint16_t wanted, uint16_t forbidden) {
  bool is_any = false;
  for (const std::string_view c : characters(text)) {
    const uint16_t found = classes_of(c);
    if (found & forbidden) return false;
    is_any |= (found & wanted) != 0;
  }
  return is_any;
}

}  // namespace

uint16_t classes_of(std::string_view character) {
  return classes(point_of(character));
}

std::string upper(std::string_view text) {
  std::string out;
  for (const std::string_view c : characters(text)) append_mapped(c, Mapping::kUpper, &out);
  return out;
}

std::string lower(std::string_view text) {
  const auto all = characters(text);
  std::string out;
  for (size_t i = 0; i < all.size(); ++i) append_lower(all, i, &out);
  return out;
}

std::string capitalize(std::string_view text) {
  const auto all = characters(text);
  std::string out;
  if (!all.empty()) append_mapped(all[0], Mapping::kTitle, &out);
  for (size_t i = 1; i < all.size(); ++i) append_lower(all, i, &out);
  return out;
}

std::string title(std::string_view text) {
  const auto all = characters(text);
  std::string out;
  bool is_in_word = false;
  for (size_t i = 0; i < all.size(); ++i) {
    if (is_in_word) {
      append_lower(all, i, &out);
    } else {
      append_mapped(all[i], Mapping::kTitle, &out);
    }
    is_in_word = (classes_of(all[i]) & kCased) != 0;
  }
  return out;
}

std::string title_words(std::string_view text) {
  const auto is_between = [](std::string_view c) {
    return c.find_first_of("-({[<") == 0 || (classes_of(c) & kSpace) != 0;
  };
  const auto all = characters(text);
  std::string out;
  for (size_t i = 0; i < all.size();) {
    size_t end = i + 1;
    while (end < all.size() && is_between(all[end]) == is_between(all[i])) ++end;
    append_mapped(all[i], Mapping::kUpper, &out);
    const char* rest = all[i].data() + all[i].size();
    const char* stop = all[end - 1].data() + all[end - 1].size();
    out += lower(std::string_view(rest, static_cast<size_t>(stop - rest)));
    i = end;
  }
  return out;
}

bool is_upper(std::string_view text) {
  return is_all(text, kUpper, kLower | kTitle);
}

bool is_lower(std::string_view text) {
  return is_all(text, kLower, kUpper | kTitle);
}

}  // namespace dynamo::text::jinja
