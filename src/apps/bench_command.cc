// dynamo bench: puts load on a server that speaks OpenAI's API, and reports how it answered.
#include <fmt/format.h>

#include <fstream>
#include <memory>

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
  bool stops_at_eos = false;
  bool prints_json = false;
  std::string output;
  std::string samples;
};

std::string_view endpoint_name(load::Endpoint endpoint) {
  return endpoint == load::Endpoint::kChat ? "chat" : "completions";
}

std::string_view arrivals_name(bool is_poisson) {
  return is_poisson ? "poisson" : "constant";
}

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

// What is asked of whom.
void add_server_options(load::RunOptions* run, OptionSet* options) {
  options->add("--url", texts(&run->urls), "The server; given again, another one, used in turn").from("DYN_CHAT_URL");
  options->add("--model", text(&run->model), "Model to ask; by default the server's first").without_variable();
  options->add("--api-key", text(&run->api_key), "Sent as a bearer token").from("OPENAI_API_KEY");
  options
      ->add("--endpoint", one_of(&run->endpoint, {load::Endpoint::kCompletions, load::Endpoint::kChat}, endpoint_name),
            "completions: prompts are token ids, exact; chat: prompts are words, and turns build on the real answers")
      .without_variable();
}

void add_workload_options(BenchFlags* flags, OptionSet* options) {
  const auto add = [&](const char* flag, OptionValue value, const char* meaning) -> Option& {
    return options->add(flag, std::move(value), meaning).without_variable();
  };
  load::SyntheticOptions& synthetic = flags->synthetic;
  add("--trace", text(&flags->trace_file), "Replay this trace in Mooncake's format (JSON lines), at its own times");
  add("--prompts", text(&flags->prompt_file), "Take prompts from this file, one per line, instead of making them up")
      .not_with("--trace");
  add("--conversations", number(&synthetic.conversations, 1U, 100'000'000U),
      "How many; one of a single turn is a request");
  add("--turns", number(&synthetic.turns, 1U, 10'000U),
      "Requests of a conversation, each with all that was said before");
  add("--input-tokens", number(&synthetic.input_tokens, 1U, 10'000'000U), "New tokens in each turn");
  add("--output-tokens", number(&synthetic.output_tokens, 1U, 1'000'000U), "Tokens of an answer");
  add("--shared-prefixes", number(&synthetic.shared_prefixes, 0U, 1'000'000U),
      "System prompts that conversations share in turn");
  add("--prefix-tokens", number(&synthetic.prefix_tokens, 1U, 10'000'000U), "Tokens of each system prompt");
  add("--spread", number(&synthetic.spread, 0.0, 0.99), "Lengths vary by this share to either side");
  add("--seed", number(&synthetic.seed), "Same seed, same workload");
}

void add_pace_options(load::RunOptions* run, OptionSet* options) {
  const auto add = [&](const char* flag, OptionValue value, const char* meaning) {
    options->add(flag, std::move(value), meaning).without_variable();
  };
  add("--concurrency", number(&run->concurrency, 0U, 1'000'000U),
      "Conversations at once; with --rate or --trace at most so many, 0 without limit");
  add("--rate", number(&run->rate, 0.0, 1e6), "Conversations begun per second; 0: the next begins when one ends");
  add("--arrivals", one_of(&run->is_poisson, {true, false}, arrivals_name), "With --rate: poisson or constant");
  add("--think-time", time_in<std::chrono::milliseconds>(&run->think_time, 0, 86'400'000),
      "Milliseconds between an answer and the next turn");
  add("--warmup", number(&run->warmup, 0U, 100'000'000U), "Conversations at the beginning that are not counted");
  add("--duration", seconds(&run->duration, 0, 864'000), "Begin nothing after so many seconds; 0: until all is done");
  add("--timeout", seconds(&run->request_timeout, 1, 86'400), "Seconds for one answer");
}

void add_other_options(BenchFlags* flags, OptionSet* options) {
  const auto add = [&](const char* flag, OptionValue value, const char* meaning) {
    options->add(flag, std::move(value), meaning).without_variable();
  };
  add("--trace-block-size", number(&flags->trace.block_tokens, 1U, 1U << 20),
      "Tokens that one of a trace's hash_ids stands for");
  add("--max-input-tokens", number(&flags->trace.max_input_tokens, 0U, 1U << 30),
      "Leave a trace's longer requests out; 0: none");
  add("--max-requests", number(&flags->trace.most, 0U, 1U << 30), "Of a trace, only so many; 0: all");
  add("--time-scale", number(&flags->trace.time_scale, 1e-6, 1e6), "2 replays a trace at half its speed, 0.5 at twice");

  add("--temperature", number(&flags->run.temperature, 0.0, 2.0), "Of the answers");
  add("--stop-at-eos", on_or_off(&flags->stops_at_eos), "Let answers end early, where the model would");
  add("--first-token", number(&flags->run.first_token, 0U, 1U << 24), "Lowest token id of made-up prompts");
  add("--tokens", number(&flags->run.tokens, 1U, 1U << 24), "How many token ids they are drawn from");
  add("--block-size", number(&flags->run.block_tokens, 1U, 1U << 16),
      "Tokens per block of the endless cache that the report compares with");

  add("--json", on_or_off(&flags->prints_json), "Print the report as JSON instead of a table");
  add("--output", text(&flags->output), "Also write the report as JSON to this file");
  add("--samples", text(&flags->samples), "Write one JSON line per request to this file");
}

}  // namespace

Command bench_command() {
  auto flags = std::make_shared<BenchFlags>();
  Command command{.name = "bench", .meaning = "Put load on a server and report how it answered (docs/bench.md)"};
  add_server_options(&flags->run, &command.options);
  add_workload_options(flags.get(), &command.options);
  add_pace_options(&flags->run, &command.options);
  add_other_options(flags.get(), &command.options);
  command.run = [=] { return finish("bench", bench(*flags)); };
  return command;
}

}  // namespace dynamo::apps
