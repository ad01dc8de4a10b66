// Runs our tokenizer for tests and benchmarks written in Python: `text_tokenizer_tool encode|rate TOKENIZER.json`.
//   encode  stdin: texts, each a u32 length and its bytes. stdout, for each: u32 count, the ids, u32 length, decode(ids).
//   rate    stdin: one text. stdout: tokens, a hash of them, and the best of 5 rates in MB/s, as one line.
// All integers little-endian.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace dynamo::text {
namespace {

void write_u32(uint32_t value) {
  std::fwrite(&value, sizeof value, 1, stdout);
}

int encode_all(const Tokenizer& tokenizer) {
  uint32_t size = 0;
  std::string text;
  while (std::fread(&size, sizeof size, 1, stdin) == 1) {
    text.resize(size);
    if (std::fread(text.data(), 1, size, stdin) != size) return 1;
    const std::vector<TokenId> ids = tokenizer.encode(text);
    const std::string decoded = tokenizer.decode(ids, /*skip_special=*/false);
    write_u32(static_cast<uint32_t>(ids.size()));
    std::fwrite(ids.data(), sizeof(TokenId), ids.size(), stdout);
    write_u32(static_cast<uint32_t>(decoded.size()));
    std::fwrite(decoded.data(), 1, decoded.size(), stdout);
  }
  return 0;
}

int measure(const Tokenizer& tokenizer) {
  std::string text;
  char buffer[1 << 16];
  for (size_t size = 0; (size = std::fread(buffer, 1, sizeof buffer, stdin)) > 0;) text.append(buffer, size);
  double best = 0;
  std::vector<TokenId> ids;
  for (int run = 0; run < 5; ++run) {
    const auto start = std::chrono::steady_clock::now();
    ids = tokenizer.encode(text);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(text.size()) / 1e6 / took.count());
  }
  uint64_t hash = 0;
  for (const TokenId id : ids) hash = hash * 1'000'003 + id;
  std::printf("%zu %llu %.2f\n", ids.size(), static_cast<unsigned long long>(hash), best);
  return 0;
}

int run(std::string_view command, const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string json((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto spec = tokenizer_spec_from_json(json);
  auto tokenizer = spec.is_ok() ? Tokenizer::create(*std::move(spec)) : spec.status();
  if (!tokenizer.is_ok()) {
    std::fprintf(stderr, "%s: %s\n", path, tokenizer.status().to_string().c_str());
    return 1;
  }
  return command == "rate" ? measure(**tokenizer) : encode_all(**tokenizer);
}

}  // namespace
}  // namespace dynamo::text

int main(int argc, char** argv) {
  if (argc != 3 || (std::string_view(argv[1]) != "encode" && std::string_view(argv[1]) != "rate")) {
    std::fprintf(stderr, "usage: %s encode|rate TOKENIZER.json\n", argv[0]);
    return 2;
  }
  return dynamo::text::run(argv[1], argv[2]);
}
