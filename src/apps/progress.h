// Shows how far something long has come: a bar on a terminal, plain lines elsewhere.
#pragma once

#include <string>

namespace dynamo::apps {

class Progress {
 public:
  // `what` is shown before the bar: "loading SmolLM2". Threads: one.
  explicit Progress(std::string what);
  // Requires: fraction in [0, 1], never going back.
  void update(double fraction);

 private:
  std::string what_;
  bool is_terminal_;
  int shown_ = -1;  // what the screen says: per cent on a terminal, quarters elsewhere
};

}  // namespace dynamo::apps
