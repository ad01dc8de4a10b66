// Any bytes as a worker's value in the registry: read or refused, and what is read is fit for logs, headers, labels and addresses.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "discovery/keys.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dynamo;
  using namespace dynamo::discovery;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<WorkerInstance> read = worker_from_json(text);
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (!read.is_ok()) {
    CHECK(read.status().code() == Code::kCorrupt);
    CHECK(read.status().text().size() < 400 && std::ranges::none_of(read.status().text(), is_control));
    return 0;
  }
  CHECK(read->instance != 0 && check(*read).is_ok());
  for (const std::string* one :
       {&read->name, &read->model, &read->address, &read->model_digest, &read->transfer, &read->version})
    CHECK(std::ranges::none_of(*one, is_control));
  CHECK(std::ranges::none_of(worker_key("ns", *read), is_control));
  const Result<WorkerInstance> again = worker_from_json(to_json(*read));
  CHECK(again.is_ok() && *again == *read);
  return 0;
}
