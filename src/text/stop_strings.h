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
  // Cost: of push(), each byte once per stop string; memory, the longest stop string.
  explicit StopStrings(std::vector<std::string> stops);

  // Returns: text that can be shown now: all up to the stop string that ends first, or all but the longest tail that
  // could begin one. After a stop was found, always empty. Where the text must go on yet (`can_stop` false), stop strings that
  // end in `piece` do not count; those that begin in it and end later do.
  std::string push(std::string_view piece, bool can_stop = true);
  // What was held back, when the text ended without a stop.
  std::string finish();
  bool has_stopped() const { return has_stopped_; }
  // The stop string that was found; empty before. It is the one that ends first; of two that end at the same place,
  // the longer.
  const std::string& matched() const { return matched_; }

 private:
  // One stop string and how much of it the text so far ends with (Knuth, Morris, Pratt 1977).
  struct Stop {
    explicit Stop(std::string stop);
    void read(char c);

    std::string text;
    std::vector<size_t> borders;  // of each prefix, the longest proper prefix that is its suffix too
    size_t matched = 0;
  };

  std::vector<Stop> stops_;
  std::string held_;
  std::string matched_;
  bool has_stopped_ = false;
};

}  // namespace dynamo::text
