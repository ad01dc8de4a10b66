// Finds stop strings in text that arrives in pieces, and holds back what may yet become one.
// Threads: one per stream.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dynamo::text {

class StopStrings {
 public:
  // Requires: no stop string is empty. With none, push() passes everything through.
  explicit StopStrings(std::vector<std::string> stops);

  // Returns: text that can be shown now: all up to the earliest stop string, or all but the longest tail that could
  // begin one. After a stop was found, always empty.
  std::string push(std::string_view piece);
  // What was held back, when the text ended without a stop.
  std::string finish();
  bool has_stopped() const { return has_stopped_; }
  // The stop string that was found; empty before. Of two that end at the same place the longer; else the one that ends
  // first.
  const std::string& matched() const { return matched_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::string matched_;
  bool has_stopped_ = false;
};

}  // namespace dynamo::text
