// Writes the logits of every position of a text, for comparison with other implementations (tests/truth/).
//   logits_tool MODEL TOKENS OUT [scalar|avx2|avx512] [f16|f32]
// TOKENS is a file of token ids in decimal, OUT gets [tokens][vocab_size] fp32, the fifth argument is the cache's dtype.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "kernels/backend_factory.h"
#include "model/decoder.h"
#include "model/testing/run_decoder.h"

namespace dynamo::model {
namespace {

constexpr uint32_t kChunk = 256;

Status write_logits(const std::vector<std::string>& arguments) {
  TRY(const std::unique_ptr<ModelSource> source, open_model(arguments[1]));
  std::ifstream ids(arguments[2]);
  const std::vector<TokenId> tokens(std::istream_iterator<TokenId>(ids), {});
  if (tokens.empty() || !ids.eof()) return invalid(arguments[2] + " is not a list of token ids");
  kernels::BackendOptions on;
  if (arguments.size() > 4) {
    on.cpu_level = kernels::parse_cpu_level(arguments[4]);
    if (!on.cpu_level) return invalid(arguments[4] + " is no level");
  }
  const bool is_exact = arguments.size() > 5 && arguments[5] == "f32";
  on.kv = is_exact ? kv::KvDtype::kF32 : kv::KvDtype::kF16;
  TRY(const std::unique_ptr<kernels::Backend> backend, kernels::make_backend(on));
  const DecoderOptions options{
      .kv_blocks = static_cast<uint32_t>(tokens.size() / 16 + 1), .max_rows = kChunk, .max_draws = kChunk};
  TRY(const std::unique_ptr<Decoder> decoder, testing::make_decoder(*source, backend.get(), options));
  std::ofstream out(arguments[3], std::ios::binary);
  testing::TestSequence sequence{.blocks = testing::blocks_in_order(options.kv_blocks)};
  for (size_t first = 0; first < tokens.size(); first += kChunk) {
    const std::span rows = std::span(tokens).subspan(first, std::min<size_t>(kChunk, tokens.size() - first));
    const std::vector<float> logits = testing::run_chunks(decoder.get(), &sequence, rows, kChunk);
    out.write(reinterpret_cast<const char*>(logits.data()),
              static_cast<std::streamsize>(logits.size() * sizeof(float)));
  }
  out.close();
  if (!out) return internal("writing " + arguments[3] + " failed");
  return {};
}

}  // namespace
}  // namespace dynamo::model

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  if (argc < 4 || argc > 6) {
    std::fprintf(stderr, "usage: logits_tool MODEL TOKENS OUT [scalar|avx2|avx512] [f16|f32]\n");
    return 2;
  }
  const dynamo::Status status = dynamo::model::write_logits(arguments);
  if (!status.is_ok()) std::fprintf(stderr, "logits_tool: %s\n", status.to_string().c_str());
  return status.is_ok() ? 0 : 1;
}
