#include "text/nfc.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "text/unicode.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace dynamo::text {
namespace {

// Hangul syllables are arithmetic: The Unicode Standard, section 3.12.
constexpr uint32_t kS = 0xAC00, kL = 0x1100, kV = 0x1161, kT = 0x11A7;
constexpr uint32_t kLs = 19, kVs = 21, kTs = 28, kSyllables = kLs * kVs * kTs;

// A character with its canonical combining class.
struct Mark {
  char32_t code_point;
  uint8_t combining_class;
};

struct NfcTables {
  std::unordered_map<uint32_t, std::pair<uint32_t, uint32_t>> parts;
  std::unordered_map<uint64_t, uint32_t> pairs;
  std::unordered_map<uint32_t, uint8_t> classes;

  NfcTables() {
    for (const Decomposition& d : decompositions()) {
      parts.emplace(d.composed, std::pair(d.first, d.second));
      if (d.composes) pairs.emplace(uint64_t{d.first} << 32 | d.second, d.composed);
    }
    for (const CombiningRange& range : combining_ranges())
      for (uint32_t c = range.first; c <= range.last; ++c) classes.emplace(c, range.combining_class);
  }

  uint8_t class_of(char32_t c) const {
    const auto found = classes.find(c);
    return found == classes.end() ? 0 : found->second;
  }
};

const NfcTables& tables() {
  static const NfcTables tables;
  return tables;
}

void decompose(char32_t c, std::vector<Mark>* out) {
  if (c - kS < kSyllables) {
    const uint32_t index = c - kS;
    out->push_back({kL + index / (kVs * kTs), 0});
    out->push_back({kV + index % (kVs * kTs) / kTs, 0});
    if (index % kTs != 0) out->push_back({kT + index % kTs, 0});
    return;
  }
  const auto found = tables().parts.find(c);
  if (found == tables().parts.end()) {
    out->push_back({c, tables().class_of(c)});
    return;
  }
  decompose(found->second.first, out);  // at most three deep
  if (found->second.second != 0) decompose(found->second.second, out);
}

// Returns: the character that `first` and `second` make together, or 0.
char32_t compose(char32_t first, char32_t second) {
  if (first - kL < kLs && second - kV < kVs) return kS + ((first - kL) * kVs + (second - kV)) * kTs;
  if (first - kS < kSyllables && (first - kS) % kTs == 0 && second - kT - 1 < kTs - 1) return first + (second - kT);
  const auto found = tables().pairs.find(uint64_t{first} << 32 | second);
  return found == tables().pairs.end() ? 0 : found->second;
}

void order_marks(std::vector<Mark>* marks) {
  for (auto begin = marks->begin(); begin != marks->end();) {
    const auto end = std::find_if(begin, marks->end(), [](Mark m) { return m.combining_class == 0; });
    std::stable_sort(begin, end, [](Mark a, Mark b) { return a.combining_class < b.combining_class; });
    begin = end == marks->end() ? end : end + 1;
  }
}

// Appends the composition of `marks`, which are decomposed and in order.
void append_composed(const std::vector<Mark>& marks, std::string* out) {
  constexpr size_t kNone = SIZE_MAX;
  std::vector<Mark> composed;
  size_t starter = kNone;  // index in `composed`
  for (const Mark mark : marks) {
    if (starter != kNone) {
      const Mark last = composed.back();
      const bool is_blocked =
          composed.size() - 1 > starter && (last.combining_class == 0 || last.combining_class >= mark.combining_class);
      const char32_t joined = is_blocked ? 0 : compose(composed[starter].code_point, mark.code_point);
      if (joined != 0) {
        composed[starter].code_point = joined;
        continue;
      }
    }
    if (mark.combining_class == 0) starter = composed.size();
    composed.push_back(mark);
  }
  for (const Mark mark : composed) append_character(mark.code_point, out);
}

bool is_active(char32_t c) {
  return (character_flags()[c] & kNfcActive) != 0;
}

// Returns: where the next active character at or after `at` is, or the end.
size_t next_active(std::string_view text, size_t at) {
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0xCC) {  // all below U+0300 stay as they are
      ++at;
      continue;
    }
    const Character c = valid_character(text.data() + at);
    if (is_active(c.code_point)) return at;
    at += c.size;
  }
  return at;
}

}  // namespace

std::optional<std::string> to_nfc(std::string_view text) {
  size_t active = next_active(text, 0);
  if (active == text.size()) return std::nullopt;
  std::string out;
  out.reserve(text.size());
  std::vector<Mark> marks;
  size_t at = 0;
  while (active < text.size()) {
    // A region: the character before the active ones, which they may join, and all of them.
    size_t end = active;
    if (active > at) active -= valid_character_before(text.data() + at, text.data() + active).size;
    out.append(text.substr(at, active - at));
    marks.clear();
    for (size_t i = active; i < text.size();) {
      const Character c = valid_character(text.data() + i);
      if (i >= end && !is_active(c.code_point)) break;
      decompose(c.code_point, &marks);
      i += c.size;
      end = std::max(end, i);
    }
    order_marks(&marks);
    append_composed(marks, &out);
    at = end;
    active = next_active(text, at);
  }
  out.append(text.substr(at));
  return out;
}

}  // namespace dynamo::text
