// Sends a workload to servers that speak OpenAI's API, streaming, and measures every answer.
//
// One thread and one connection per request in flight, kept for the next. The runner measures itself too: how late requests were sent
// and how busy its thread was, so that a slow client is not taken for a slow server.
// Threads: run() blocks the calling thread, which it uses alone.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "kv/kv_layout.h"
#include "load/openai_client.h"
#include "load/workload.h"

namespace dynamo::load {

enum class Endpoint : uint8_t {
  kChat,        // prompts are words; later turns send the server's own answers back
  kCompletions  // prompts are token ids, exact; later turns send made-up answers
};

struct RunOptions {
  std::vector<std::string> urls = {"http://127.0.0.1:8000"};  // used in turn
  std::string model;                                          // empty: the first server's first
  Endpoint endpoint = Endpoint::kCompletions;
  uint32_t concurrency = 8;  // conversations at once; with a rate or a trace: at most so many, 0 without limit
  double rate = 0;           // conversations begun per second; 0: the next begins when one ends
  bool is_poisson = true;    // the rate's gaps: exponentially distributed, or all the same
  std::chrono::milliseconds think_time{0};  // between the turns of a conversation
  uint32_t warmup = 0;                      // conversations at the beginning that are not counted
  std::chrono::seconds request_timeout{600};
  std::chrono::seconds duration{0};  // begin nothing after that; 0: until the workload is done
  double temperature = 0;
  bool ignores_eos = true;  // answers have their full length
  uint32_t first_token = 1000;
  uint32_t tokens = 8000;                           // token ids drawn are [first_token, first_token + tokens)
  uint32_t block_tokens = kv::kDefaultBlockTokens;  // of the cache that ideal_cached_tokens stands for
  uint64_t seed = 1;
  std::string api_key;  // sent as a bearer token if not empty
};

// One request. Its text is not kept.
struct Sample : Answer {
  uint32_t turn = 0;
  Duration sent{};                   // since the run began
  Duration lag{};                    // sent so much later than planned
  uint64_t ideal_cached_tokens = 0;  // completions only: what a shared cache without limit would have held
  std::string error;                 // empty: complete
};

struct RunResult {
  std::string model;
  std::vector<Sample> samples;     // without the warm-up
  Duration wall{};                 // from the first counted request to the last one's end
  double client_cpu = 0;           // share of the time that the runner's thread was busy
  std::vector<Duration> lateness;  // of the runner's own timer, every 10 ms
  uint64_t connections = 0;        // opened
  bool is_interrupted = false;     // by SIGINT or SIGTERM: samples are those that ended before
};

// `on_progress` gets the share of conversations that have ended. Errors: kInvalid (a URL), kUnavailable (no server answers, address
// named), kNotFound (no model there). Requests that fail are samples with an error.
Result<RunResult> run(const RunOptions& options, const std::vector<Conversation>& workload,
                      const std::function<void(double)>& on_progress);

}  // namespace dynamo::load
