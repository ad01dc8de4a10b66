// What encode() and decode() cost on short texts of many scripts with small vocabularies, and on one endless piece; bytes
// per second of text. Against the `tokenizers` package, with real vocabularies: bench/tokenizer.py.
#include <benchmark/benchmark.h>

#include "text/testing/token_vectors.h"
#include "text/tokenizer.h"

namespace dynamo::text {
namespace {

const std::string kData = DYNAMO_SOURCE_DIR "/src/text/testdata";

void BM_Encode(benchmark::State& state, const char* name) {
  const auto tokenizer = load_tokenizer(kData, name).value();
  const std::string text = read_text_file(kData + "/texts.jsonl").value();
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->encode(text));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK_CAPTURE(BM_Encode, gpt2, "gpt2");
BENCHMARK_CAPTURE(BM_Encode, smollm, "smollm");
BENCHMARK_CAPTURE(BM_Encode, qwen2, "qwen2");
BENCHMARK_CAPTURE(BM_Encode, llama3, "llama3");

void BM_EncodeOnePiece(benchmark::State& state) {
  const auto tokenizer = load_tokenizer(kData, "qwen2").value();
  const std::string text(static_cast<size_t>(state.range(0)), 'a');
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->encode(text));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_EncodeOnePiece)->Arg(40)->Arg(1000)->Arg(1'000'000);

void BM_Decode(benchmark::State& state) {
  const auto tokenizer = load_tokenizer(kData, "qwen2").value();
  const std::string text = read_text_file(kData + "/texts.jsonl").value();
  const auto ids = tokenizer->encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->decode(ids, /*skip_special=*/false));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK(BM_Decode);

}  // namespace
}  // namespace dynamo::text
