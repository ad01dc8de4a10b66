// Any bytes, cut anywhere: the reader gives frames or a reason, and the same ones whatever the cuts.
#include <algorithm>
#include <vector>

#include "wire/frame.h"

namespace {

std::vector<std::string> read_all(const uint8_t* data, size_t size, size_t piece) {
  dynamo::wire::FrameReader reader(/*max_payload=*/1 << 16);
  std::vector<std::string> seen;
  for (size_t at = 0; at < size; at += piece) {
    reader.push(std::as_bytes(std::span(data + at, std::min(piece, size - at))));
    for (;;) {
      const auto frame = reader.next();
      if (!frame.is_ok()) {
        seen.push_back(frame.status().to_string());
        return seen;
      }
      if (!*frame) break;
      seen.push_back(std::string((*frame)->payload));
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  CHECK(read_all(data, size, 1) == read_all(data, size, 4096));
  return 0;
}
