#include "text/pre_split.h"

namespace dynamo::text {

Result<PreSplit> PreSplit::create(std::span<const std::string> patterns, bool splits_digits, Engine engine) {
  PreSplit split;
  bool are_digits_due = splits_digits;
  for (const std::string& pattern : patterns) {
    if (engine == Engine::kFastest) {
      if (auto scanner = scanner_of(pattern, are_digits_due)) {
        split.stages_.push_back(std::move(scanner));
        are_digits_due = false;
        continue;
      }
    }
    if (are_digits_due) split.stages_.push_back(digit_scanner());
    are_digits_due = false;
    TRY(auto splitter, regex_splitter(pattern));
    split.stages_.push_back(std::move(splitter));
  }
  if (are_digits_due) split.stages_.push_back(digit_scanner());
  return split;
}

void PreSplit::split(std::string_view text, PieceEnds* ends) const {
  ends->clear();
  if (text.empty()) return;
  if (stages_.empty()) {
    ends->push_back(text.size());
    return;
  }
  stages_.front()->split(text, 0, ends);
  for (size_t stage = 1; stage < stages_.size(); ++stage) {
    const PieceEnds pieces = std::move(*ends);
    ends->clear();
    size_t begin = 0;
    for (const size_t end : pieces) {
      stages_[stage]->split(text.substr(begin, end - begin), begin, ends);
      begin = end;
    }
  }
}

}  // namespace dynamo::text
