// What a run came to, as a table for people and as JSON for programs. Fields: docs/bench.md.  Threads: values.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <boost/json/object.hpp>

#include "load/runner.h"

namespace dynamo::load {

struct Distribution {
  size_t count = 0;
  double mean = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
};
// Percentiles by the nearest rank: of 100 values p99 is the 99th.
Distribution distribution_of(std::vector<double> values);

struct Report {
  RunResult run;
  Distribution ttft_ms, itl_ms, tpot_ms, total_ms, lag_ms, client_lateness_ms;
  uint64_t complete = 0;
  std::map<std::string, uint64_t> errors;   // by what was said
  std::map<std::string, uint64_t> workers;  // requests answered, by worker
  double requests_per_s = 0, input_tokens_per_s = 0, output_tokens_per_s = 0;
  uint64_t prompt_tokens = 0, cached_tokens = 0, ideal_cached_tokens = 0, completion_tokens = 0;
  std::string bottleneck;  // why the client may have been the slow part; empty: it was not
};
Report report_of(RunResult run);

std::string to_table(const Report& report);
boost::json::object to_json(const Report& report);
boost::json::object to_json(const Sample& sample);

}  // namespace dynamo::load
