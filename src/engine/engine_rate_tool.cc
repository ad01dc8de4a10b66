// How fast an engine answers, in one process, without server or tokenizer:
//   engine_rate_tool MODEL cpu|cuda[:N] [FOLDER of libcublasLt] [CASE ...]
// A case is decode:BATCH:PROMPT:ANSWER, prefill:COUNT:PROMPT or mixed:COUNT:FROM:TO (prompts and answers of a length
// drawn from [FROM, TO]). Prompts are random tokens, no two of which share a block. One line a case.
#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/model_runner.h"
#include "kernels/backend_factory.h"
#include "model/decoder.h"
#include "model/model_source.h"

namespace dynamo::engine {
namespace {

// Requests under way, told by their sinks.
class Tally {
 public:
  explicit Tally(size_t requests) : left_(requests), unstarted_(requests) {}

  void on_tokens(bool is_first, size_t tokens) {
    const std::lock_guard lock(mutex_);
    const Time now = Clock::steady().now();
    if (is_first && --unstarted_ == 0) all_started_ = now;
    tokens_ += tokens;
    if (unstarted_ == 0 && first_end_ == Time{}) decoded_ += tokens;
  }
  void on_end(bool has_failed) {
    const std::lock_guard lock(mutex_);
    last_end_ = Clock::steady().now();
    if (first_end_ == Time{}) first_end_ = last_end_;
    failed_ += has_failed ? 1 : 0;
    if (--left_ == 0) done_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return left_ == 0; });
  }

  size_t tokens_ = 0;   // of answers
  size_t decoded_ = 0;  // of them, while all were under way
  size_t failed_ = 0;
  Time all_started_{};  // every request has a token
  Time first_end_{};
  Time last_end_{};

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  size_t left_;
  size_t unstarted_;
};

class TallySink final : public ChunkSink {
 public:
  explicit TallySink(Tally* tally) : tally_(tally) {}
  void on_chunk(TokenChunk chunk) override {
    tally_->on_tokens(!std::exchange(has_begun_, true), chunk.tokens.size());
    if (chunk.finish) tally_->on_end(false);
  }
  void on_failure(Status status) override {
    std::fprintf(stderr, "%s\n", status.to_string().c_str());
    tally_->on_end(true);
  }
  void on_sign_of_life() override {}

 private:
  Tally* tally_;
  bool has_begun_ = false;
};

struct Loaded {
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<model::Decoder> decoder;
  std::unique_ptr<Engine> engine;
  Metrics metrics;
  uint32_t vocab_size = 0;
};

Status load(const std::string& path, const std::string& device, const std::string& folder, Loaded* out) {
  kernels::BackendOptions on;
  TRY_STATUS(kernels::parse_device(device, &on));
  if (!folder.empty()) on.cuda_folders = {folder};
  const Time started = Clock::steady().now();
  TRY(out->backend, kernels::make_backend(on));
  TRY(const std::unique_ptr<model::ModelSource> source, model::open_model(path));
  TRY(model::DecoderWeights weights, model::load_weights(*source, out->backend.get(), nullptr));
  const kernels::Traits& traits = out->backend->traits();
  const size_t block_bytes = model::kv_layout_of(source->config(), traits, 16).block_bytes();
  const uint64_t pool = out->backend->free_bytes().value_or(uint64_t{2} << 30) / 10 * 8;
  EngineOptions options{.kv_blocks = static_cast<uint32_t>(pool / block_bytes),
                        .context_length = std::min(source->config().context_length, 8192U),
                        .vocab_size = source->config().vocab_size,
                        .max_batch_tokens = traits.max_batch_tokens,
                        .max_sequences = traits.max_sequences};
  out->vocab_size = options.vocab_size;
  TRY(out->decoder, model::Decoder::create(std::move(weights), out->backend.get(),
                                           {.kv_blocks = options.kv_blocks,
                                            .max_rows = options.max_batch_tokens,
                                            .max_draws = options.max_sequences,
                                            .context_length = options.context_length}));
  TRY(out->engine,
      Engine::start(options, make_model_runner(out->decoder.get()), &Clock::steady(), nullptr, &out->metrics, {}));
  std::printf("%s: loaded in %.2f s, %u KV blocks\n", traits.name.c_str(),
              std::chrono::duration<double>(Clock::steady().now() - started).count(), options.kv_blocks);
  return {};
}

double seconds_between(Time from, Time to) {
  return std::chrono::duration<double>(to - from).count();
}

// "decode:64:1024:128" -> its numbers.
std::vector<uint32_t> numbers_of(const std::string& text) {
  std::vector<uint32_t> numbers;
  for (size_t at = text.find(':'); at != std::string::npos; at = text.find(':', at + 1)) {
    uint32_t number = 0;
    std::from_chars(text.data() + at + 1, text.data() + text.size(), number);
    numbers.push_back(number);
  }
  return numbers;
}

void run_case(const std::string& text, Loaded* on, std::mt19937* random) {
  std::vector<uint32_t> n = numbers_of(text);
  const bool is_prefill = text.starts_with("prefill");
  const bool is_mixed = text.starts_with("mixed");
  n.resize(3, 1);
  Tally tally(n[0]);
  std::vector<GenerateRequest> requests(n[0]);
  for (GenerateRequest& request : requests) {
    const auto length = [&](uint32_t usual) { return is_mixed ? n[1] + (*random)() % (n[2] - n[1] + 1) : usual; };
    request.prompt.tokens.resize(length(n[1]));
    for (TokenId& token : request.prompt.tokens) token = (*random)() % on->vocab_size;
    request.stop.max_tokens = is_prefill ? 1 : length(n[2]);
    request.sampling.temperature = is_mixed ? 0.6F : 0;
  }
  const Time began = Clock::steady().now();
  for (GenerateRequest& request : requests) {
    const auto taken = on->engine->submit(std::move(request), std::make_shared<TallySink>(&tally), {});
    if (!taken.is_ok()) {
      std::printf("%s: %s\n", text.c_str(), taken.status().to_string().c_str());
      std::exit(1);  // NOLINT: sinks of others are under way
    }
  }
  tally.wait();
  const double all = seconds_between(began, tally.last_end_);
  if (is_prefill) {
    std::printf("%-24s %9.2f ms  %10.0f tok/s", text.c_str(), all * 1e3, n[0] * n[1] / all);
  } else if (is_mixed) {
    std::printf("%-24s %9.2f s   %10.0f tok/s", text.c_str(), all, static_cast<double>(tally.tokens_) / all);
  } else {
    const double decoding = seconds_between(tally.all_started_, tally.first_end_);
    const double rate = static_cast<double>(tally.decoded_) / decoding;
    std::printf("%-24s %9.3f ms a step  %10.0f tok/s", text.c_str(), n[0] / rate * 1e3, rate);
  }
  std::printf("%s\n", tally.failed_ > 0 ? "  FAILED" : "");
  std::fflush(stdout);
}

Status measure(const std::vector<std::string>& arguments) {
  Loaded loaded;
  const bool has_folder = arguments.size() > 3 && arguments[3].find(':') == std::string::npos;
  TRY_STATUS(load(arguments[1], arguments[2], has_folder ? arguments[3] : "", &loaded));
  std::vector<std::string> cases(arguments.begin() + (has_folder ? 4 : 3), arguments.end());
  if (cases.empty()) {
    cases = {"prefill:1:128",     "prefill:1:1024",     "prefill:1:4096",      "prefill:8:1024",
             "decode:1:1024:256", "decode:64:1024:256", "decode:256:1024:256", "mixed:256:100:1024"};
  }
  std::mt19937 random(1);
  run_case("prefill:4:64", &loaded, &random);  // what is made at first use is made
  for (const std::string& one : cases) {
    // The second of a prefill counts: its shape is known by then.
    if (one.starts_with("prefill")) run_case(one, &loaded, &random);
    run_case(one, &loaded, &random);
  }
  loaded.engine->stop(Time::max());
  return {};
}

}  // namespace
}  // namespace dynamo::engine

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  if (argc < 3) {
    std::fprintf(stderr, "usage: engine_rate_tool MODEL cpu|cuda[:N] [FOLDER] [CASE ...]\n");
    return 2;
  }
  const dynamo::Status status = dynamo::engine::measure(arguments);
  if (!status.is_ok()) std::fprintf(stderr, "engine_rate_tool: %s\n", status.to_string().c_str());
  return status.is_ok() ? 0 : 1;
}
