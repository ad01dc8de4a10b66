// An end in a process of its own, to be stopped and killed. It answers what this process notifies it of.
//
//   "check FIRST COUNT BYTES SEED"  "good" or "bad": whether the blocks hold what fill() writes with seed SEED + block
//   "pour BYTES"                    nothing; puts BYTES of its pool into ours from then on, without end, notifying "poured"
//
// Threads: one. It ends with the object.
#pragma once

#include <sys/types.h>

#include <string>

#include "transfer/testing/end.h"

namespace dynamo::transfer {

class ForkedEnd {
 public:
  // Starts it, and makes it and `home` peers of each other.
  ForkedEnd(const Backend& backend, size_t pool_bytes, End* home);
  ~ForkedEnd();
  ForkedEnd(const ForkedEnd&) = delete;
  ForkedEnd& operator=(const ForkedEnd&) = delete;

  PeerId peer() const { return peer_; }  // of home
  void hang();                           // SIGSTOP
  void resume();
  void kill();

 private:
  pid_t process_ = -1;
  PeerId peer_ = 0;
};

}  // namespace dynamo::transfer
