#include "load/report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <boost/json/array.hpp>

namespace dynamo::load {
namespace {

namespace json = boost::json;

constexpr double kBusyClient = 0.85;    // of the runner's thread
constexpr double kLateClientMs = 10.0;  // 99th percentile

double ms(Duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

json::object to_json(const Distribution& d) {
  return {{"count", d.count}, {"mean", d.mean}, {"p50", d.p50}, {"p90", d.p90},
          {"p95", d.p95},     {"p99", d.p99},   {"max", d.max}};
}

double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

Distribution distribution_of(std::vector<double> values) {
  Distribution out;
  out.count = values.size();
  if (values.empty()) return out;
  std::ranges::sort(values);
  for (const double value : values) out.mean += value / static_cast<double>(values.size());
  const auto at = [&](double part) {
    const auto rank = static_cast<size_t>(std::ceil(part * static_cast<double>(values.size())));
    return values[std::max<size_t>(rank, 1) - 1];
  };
  out.p50 = at(0.5);
  out.p90 = at(0.9);
  out.p95 = at(0.95);
  out.p99 = at(0.99);
  out.max = values.back();
  return out;
}

Report report_of(RunResult run) {
  Report report;
  std::vector<double> ttft, itl, tpot, total, lag, lateness;
  for (const Sample& sample : run.samples) {
    lag.push_back(ms(sample.lag));
    if (!sample.error.empty()) {
      ++report.errors[sample.error];
      continue;
    }
    ++report.complete;
    ++report.workers[sample.worker.empty() ? "(not named)" : sample.worker];
    report.prompt_tokens += sample.prompt_tokens;
    report.cached_tokens += sample.cached_tokens;
    report.ideal_cached_tokens += sample.ideal_cached_tokens;
    report.completion_tokens += sample.completion_tokens;
    total.push_back(ms(sample.total));
    if (sample.first_token.count() == 0) continue;  // no text came
    ttft.push_back(ms(sample.first_token));
    for (const Duration gap : sample.gaps) itl.push_back(ms(gap));
    if (sample.completion_tokens > 1) {
      tpot.push_back(ms(sample.total - sample.first_token) / static_cast<double>(sample.completion_tokens - 1));
    }
  }
  for (const Duration late : run.lateness) lateness.push_back(ms(late));
  report.ttft_ms = distribution_of(std::move(ttft));
  report.itl_ms = distribution_of(std::move(itl));
  report.tpot_ms = distribution_of(std::move(tpot));
  report.total_ms = distribution_of(std::move(total));
  report.lag_ms = distribution_of(std::move(lag));
  report.client_lateness_ms = distribution_of(std::move(lateness));
  const double seconds = std::max(ms(run.wall) / 1000, 1e-9);
  report.requests_per_s = static_cast<double>(report.complete) / seconds;
  report.input_tokens_per_s = static_cast<double>(report.prompt_tokens) / seconds;
  report.output_tokens_per_s = static_cast<double>(report.completion_tokens) / seconds;
  if (run.client_cpu > kBusyClient) {
    report.bottleneck = fmt::format("its thread was busy {:.0f}% of the time", run.client_cpu * 100);
  } else if (report.client_lateness_ms.p99 > kLateClientMs) {
    report.bottleneck =
        fmt::format("its own timer ran {:.1f} ms late at the 99th percentile", report.client_lateness_ms.p99);
  }
  report.run = std::move(run);
  return report;
}

std::string to_table(const Report& report) {
  std::string out = fmt::format("{:<24}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "milliseconds", "mean", "p50", "p90",
                                "p95", "p99", "max");
  const auto row = [&](const char* name, const Distribution& d) {
    if (d.count == 0) return;
    out += fmt::format("{:<24}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}\n", name, d.mean, d.p50, d.p90,
                       d.p95, d.p99, d.max);
  };
  row("time to first token", report.ttft_ms);
  row("inter-token latency", report.itl_ms);
  row("time per output token", report.tpot_ms);
  row("whole request", report.total_ms);
  row("sent later than planned", report.lag_ms);
  const auto line = [&](const char* name, const std::string& text) { out += fmt::format("{:<24}{}\n", name, text); };
  out += "\n";
  line("model", report.run.model);
  line("requests", fmt::format("{} complete, {} failed, in {:.2f} s", report.complete,
                               report.run.samples.size() - report.complete, ms(report.run.wall) / 1000));
  line("throughput", fmt::format("{:.2f} requests/s, {:.1f} prompt tokens/s, {:.1f} output tokens/s",
                                 report.requests_per_s, report.input_tokens_per_s, report.output_tokens_per_s));
  line("prompt tokens", fmt::format("{}, cached {} ({:.1f}%)", report.prompt_tokens, report.cached_tokens,
                                    share(report.cached_tokens, report.prompt_tokens) * 100));
  if (report.ideal_cached_tokens > 0) {
    line("one endless cache", fmt::format("would have held {} ({:.1f}%)", report.ideal_cached_tokens,
                                          share(report.ideal_cached_tokens, report.prompt_tokens) * 100));
  }
  line("output tokens", fmt::format("{}", report.completion_tokens));
  for (const auto& [worker, requests] : report.workers)
    line("answered by", fmt::format("{}: {} requests", worker, requests));
  for (const auto& [error, count] : report.errors) line("error", fmt::format("{}x {}", count, error));
  line("this client", fmt::format("{:.0f}% busy, timer late by {:.2f} ms (p99), {} connections",
                                  report.run.client_cpu * 100, report.client_lateness_ms.p99, report.run.connections));
  if (!report.bottleneck.empty()) line("CAUTION", "the client may have been the bottleneck: " + report.bottleneck);
  if (report.run.is_interrupted) line("CAUTION", "the run was interrupted");
  return out;
}

json::object to_json(const Report& report) {
  json::object errors, workers;
  for (const auto& [error, count] : report.errors) errors[error] = count;
  for (const auto& [worker, count] : report.workers) workers[worker] = count;
  json::object out{{"model", report.run.model},
                   {"complete", report.complete},
                   {"failed", report.run.samples.size() - report.complete},
                   {"seconds", ms(report.run.wall) / 1000},
                   {"ttft_ms", to_json(report.ttft_ms)},
                   {"itl_ms", to_json(report.itl_ms)},
                   {"tpot_ms", to_json(report.tpot_ms)},
                   {"request_ms", to_json(report.total_ms)},
                   {"lag_ms", to_json(report.lag_ms)},
                   {"requests_per_s", report.requests_per_s},
                   {"prompt_tokens_per_s", report.input_tokens_per_s},
                   {"output_tokens_per_s", report.output_tokens_per_s},
                   {"prompt_tokens", report.prompt_tokens},
                   {"cached_tokens", report.cached_tokens},
                   {"cached_share", share(report.cached_tokens, report.prompt_tokens)},
                   {"ideal_cached_tokens", report.ideal_cached_tokens},
                   {"ideal_cached_share", share(report.ideal_cached_tokens, report.prompt_tokens)},
                   {"output_tokens", report.completion_tokens},
                   {"workers", std::move(workers)},
                   {"errors", std::move(errors)},
                   {"client", json::object{{"busy", report.run.client_cpu},
                                           {"timer_late_ms", to_json(report.client_lateness_ms)},
                                           {"connections", report.run.connections},
                                           {"bottleneck", report.bottleneck}}},
                   {"is_interrupted", report.run.is_interrupted}};
  return out;
}

json::object to_json(const Sample& sample) {
  json::object out{{"turn", sample.turn},
                   {"sent_ms", ms(sample.sent)},
                   {"lag_ms", ms(sample.lag)},
                   {"ttft_ms", ms(sample.first_token)},
                   {"request_ms", ms(sample.total)},
                   {"prompt_tokens", sample.prompt_tokens},
                   {"cached_tokens", sample.cached_tokens},
                   {"ideal_cached_tokens", sample.ideal_cached_tokens},
                   {"output_tokens", sample.completion_tokens},
                   {"worker", sample.worker},
                   {"error", sample.error}};
  json::array gaps;
  for (const Duration gap : sample.gaps) gaps.push_back(ms(gap));
  out["gaps_ms"] = std::move(gaps);
  return out;
}

}  // namespace dynamo::load
