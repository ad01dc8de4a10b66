// dynamo bench: puts load on a server that speaks OpenAI's API, and reports how it answered.
#include <fmt/format.h>

#include <fstream>

#include <boost/json/serialize.hpp>

#include "apps/command.h"
#include "apps/print.h"
#include "apps/progress.h"
#include "base/log_output.h"
#include "load/report.h"
#include "load/runner.h"
#include "load/workload.h"

namespace dynamo::apps {
namespace {

struct BenchFlags {
  load::RunOptions run;
  load::SyntheticOptions synthetic;
  load::TraceOptions trace;
  std::string prompt_file;
  std::string trace_file;
  std::string endpoint = "completions";
  std::string arrivals = "poisson";
  uint32_t think_time_ms = 0;
  uint32_t timeout = 600;
  uint32_t duration = 0;
  bool stops_at_eos = false;
  bool prints_json = false;
  std::string output;
  std::string samples;
};

Result<std::vector<load::Conversation>> workload_of(const BenchFlags& flags) {
  if (!flags.prompt_file.empty())
    return load::from_prompt_file(flags.prompt_file, flags.synthetic.conversations, flags.synthetic.output_tokens);
  if (flags.trace_file.empty()) return load::synthetic(flags.synthetic);
  auto trace = load::read_trace(flags.trace_file, flags.trace);
  if (!trace.is_ok()) return trace.status();
  if (trace->left_out > 0) {
    log::write_text(fmt::format("dynamo bench: left out {} requests longer than {} tokens\n", trace->left_out,
                                flags.trace.max_input_tokens));
  }
  return std::move(trace->conversations);
}

Status write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file ? Status() : unavailable(fmt::format("{}: cannot be written", path));
}

Status bench(BenchFlags flags) {
  flags.run.endpoint = flags.endpoint == "chat" ? load::Endpoint::kChat : load::Endpoint::kCompletions;
  flags.run.is_poisson = flags.arrivals == "poisson";
  flags.run.think_time = std::chrono::milliseconds(flags.think_time_ms);
  flags.run.request_timeout = std::chrono::seconds(flags.timeout);
  flags.run.duration = std::chrono::seconds(flags.duration);
  flags.run.ignores_eos = !flags.stops_at_eos;
  flags.run.seed = flags.synthetic.seed;
  for (const std::string& path : {flags.output, flags.samples})  // better now than after the run
    if (!path.empty()) TRY_STATUS(write(path, ""));
  auto workload = workload_of(flags);
  if (!workload.is_ok()) return workload.status();
  if (flags.run.warmup >= workload->size()) {
    return invalid(fmt::format("--warmup {} leaves none of the {} conversations to be counted", flags.run.warmup,
                               workload->size()));
  }
  Progress progress("bench");
  auto run = load::run(flags.run, *workload, [&](double done) { progress.update(done); });
  if (!run.is_ok()) return run.status();
  const load::Report report = load::report_of(std::move(run).value());
  const std::string json = boost::json::serialize(load::to_json(report)) + "\n";
  if (!flags.output.empty()) TRY_STATUS(write(flags.output, json));
  if (!flags.samples.empty()) {
    std::string lines;
    for (const load::Sample& sample : report.run.samples) lines += boost::json::serialize(load::to_json(sample)) + "\n";
    TRY_STATUS(write(flags.samples, lines));
  }
  print(flags.prints_json ? json : load::to_table(report));
  if (report.complete == 0) return unavailable("no request was answered in full");
  return {};
}

}  // namespace

void add_bench_command(CLI::App* app, Run* run) {
  CLI::App* command = app->add_subcommand("bench", "Put load on a server and report how it answered (docs/bench.md)");
  auto flags = std::make_shared<BenchFlags>();
  const auto option = [&](const char* name, auto& value, const char* meaning) {
    return command->add_option(name, value, meaning)->capture_default_str();
  };
  option("--url", flags->run.urls, "The server; given again, another one, used in turn")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->envname("DYN_CHAT_URL");
  option("--model", flags->run.model, "Model to ask; by default the server's first");
  option("--api-key", flags->run.api_key, "Sent as a bearer token")->envname("OPENAI_API_KEY");
  option("--endpoint", flags->endpoint,
         "completions: prompts are token ids, exact; chat: prompts are words, and turns build on the real answers")
      ->check(CLI::IsMember({"completions", "chat"}));

  CLI::Option* trace =
      option("--trace", flags->trace_file, "Replay this trace in Mooncake's format (JSON lines), at its own times");
  option("--prompts", flags->prompt_file, "Take prompts from this file, one per line, instead of making them up")
      ->excludes(trace);
  option("--conversations", flags->synthetic.conversations, "How many; one of a single turn is a request")
      ->check(CLI::Range(1, 100'000'000));
  option("--turns", flags->synthetic.turns, "Requests of a conversation, each with all that was said before")
      ->check(CLI::Range(1, 10'000));
  option("--input-tokens", flags->synthetic.input_tokens, "New tokens in each turn")->check(CLI::Range(1, 10'000'000));
  option("--output-tokens", flags->synthetic.output_tokens, "Tokens of an answer")->check(CLI::Range(1, 1'000'000));
  option("--shared-prefixes", flags->synthetic.shared_prefixes, "System prompts that conversations share in turn")
      ->check(CLI::Range(0, 1'000'000));
  option("--prefix-tokens", flags->synthetic.prefix_tokens, "Tokens of each system prompt")
      ->check(CLI::Range(1, 10'000'000));
  option("--spread", flags->synthetic.spread, "Lengths vary by this share to either side")
      ->check(CLI::Range(0.0, 0.99));
  option("--seed", flags->synthetic.seed, "Same seed, same workload");

  option("--concurrency", flags->run.concurrency,
         "Conversations at once; with --rate or --trace at most so many, 0 without limit")
      ->check(CLI::Range(0, 1'000'000));
  option("--rate", flags->run.rate, "Conversations begun per second; 0: the next begins when one ends")
      ->check(CLI::Range(0.0, 1e6));
  option("--arrivals", flags->arrivals, "With --rate: poisson or constant")
      ->check(CLI::IsMember({"poisson", "constant"}));
  option("--think-time", flags->think_time_ms, "Milliseconds between an answer and the next turn")
      ->check(CLI::Range(0, 86'400'000));
  option("--warmup", flags->run.warmup, "Conversations at the beginning that are not counted")
      ->check(CLI::Range(0, 100'000'000));
  option("--duration", flags->duration, "Begin nothing after so many seconds; 0: until all is done")
      ->check(CLI::Range(0, 864'000));
  option("--timeout", flags->timeout, "Seconds for one answer")->check(CLI::Range(1, 86'400));

  option("--trace-block-size", flags->trace.block_tokens, "Tokens that one of a trace's hash_ids stands for")
      ->check(CLI::Range(1, 1 << 20));
  option("--max-input-tokens", flags->trace.max_input_tokens, "Leave a trace's longer requests out; 0: none")
      ->check(CLI::Range(0, 1 << 30));
  option("--max-requests", flags->trace.most, "Of a trace, only so many; 0: all")->check(CLI::Range(0, 1 << 30));
  option("--time-scale", flags->trace.time_scale, "2 replays a trace at half its speed, 0.5 at twice")
      ->check(CLI::Range(1e-6, 1e6));

  option("--temperature", flags->run.temperature, "Of the answers")->check(CLI::Range(0.0, 2.0));
  command->add_flag("--stop-at-eos", flags->stops_at_eos, "Let answers end early, where the model would");
  option("--first-token", flags->run.first_token, "Lowest token id of made-up prompts")->check(CLI::Range(0, 1 << 24));
  option("--tokens", flags->run.tokens, "How many token ids they are drawn from")->check(CLI::Range(1, 1 << 24));
  option("--block-size", flags->run.block_tokens, "Tokens per block of the endless cache that the report compares with")
      ->check(CLI::Range(1, 1 << 16));

  command->add_flag("--json", flags->prints_json, "Print the report as JSON instead of a table");
  option("--output", flags->output, "Also write the report as JSON to this file");
  option("--samples", flags->samples, "Write one JSON line per request to this file");
  command->callback([=] { *run = [=] { return finish("bench", bench(*flags)); }; });
}

}  // namespace dynamo::apps
