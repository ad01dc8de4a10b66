// What the API layer costs per request without sockets: body of 3 KB read, rendered and tokenized, 64 tokens answered one
// a chunk; CPU time per request. The tokenizer knows bytes only, so its part is that of 3,000 one-byte tokens.
#include <benchmark/benchmark.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "openai/service.h"
#include "openai/testing/recording_writer.h"
#include "openai/testing/test_model.h"

namespace dynamo::openai {
namespace {

constexpr int kTokens = 64;

// A conversation of eight messages, 3 KB of text in all.
std::string conversation(bool is_stream) {
  std::string body = R"({"model":"test/bytes","messages":[{"role":"system","content":"You are a helpful assistant."})";
  for (int i = 0; i < 7; ++i) {
    body += fmt::format(R"(,{{"role":"{}","content":"{}"}})", i % 2 == 0 ? "user" : "assistant",
                        std::string(420, static_cast<char>('a' + i)) + R"(\n)");
  }
  return body + fmt::format(R"(],"temperature":0.7,"max_tokens":64,"stream":{}}})", is_stream);
}

// `pieces` have one chunk each.
void BM_Chat(benchmark::State& state, bool is_stream, const char* members) {
  std::vector<std::string> pieces(kTokens, "x");
  testing::TestDirectory directory(testing::say(pieces));
  directory.model().card.context_length = 8192;
  Metrics metrics;
  Service service(ServiceOptions(), &directory, ServiceState{}, &metrics);
  http::Request request;
  request.body = conversation(is_stream);
  request.body.insert(request.body.size() - 1, members);
  for (auto _ : state) {
    testing::RecordingWriter out;
    boost::asio::io_context io{1};
    boost::asio::co_spawn(io, service.complete(Endpoint::kChat, &request, &out), boost::asio::detached);
    io.run();
    if (out.head.status != 200) state.SkipWithError("refused");
    benchmark::DoNotOptimize(out.pieces.size());
  }
}
BENCHMARK_CAPTURE(BM_Chat, stream, true, "");
BENCHMARK_CAPTURE(BM_Chat, whole, false, "");
BENCHMARK_CAPTURE(BM_Chat, stream_with_four_choices, true, R"(,"n":4)");
BENCHMARK_CAPTURE(BM_Chat, stream_with_stop_strings, true, R"(,"stop":["STOP","\n\nuser:"])");

}  // namespace
}  // namespace dynamo::openai
