// An end in a process of its own, to be stopped and killed. It answers what this process notifies it of.
//
// The process is this program again, with the one test of Conformance that serves it: libraries of backends do not bear a fork().
//
//   "check FIRST COUNT BYTES SEED"  "good" or "bad": whether the blocks hold what fill() writes with seed SEED + block
//   "pour BYTES PERMIT"             nothing; puts BYTES of its pool into ours from then on, without end, notifying "poured"
//
// Threads: one. It ends with the object.
#pragma once

#include <sys/types.h>

#include <string>

#include "transfer/testing/end.h"

namespace dynamo::transfer {

bool is_child_end();  // whether this process was started as one
// What it does until it is killed or its parent ends.
[[noreturn]] void serve_child_end(const Backend& backend);

class ChildEnd {
 public:
  // Starts it, and makes it and `home` peers of each other.
  ChildEnd(const Backend& backend, size_t pool_bytes, End* home);
  ~ChildEnd();
  ChildEnd(const ChildEnd&) = delete;
  ChildEnd& operator=(const ChildEnd&) = delete;

  PeerId peer() const { return peer_; }  // of home
  void hang();                           // SIGSTOP
  void resume();
  void kill();

 private:
  pid_t process_ = -1;
  PeerId peer_ = 0;
};

}  // namespace dynamo::transfer
