// Runs our tokenizer for tests and benchmarks written in Python: `tokenizer_tool encode|rate TOKENIZER.json`.
// stdin holds texts, each a u32 length and its bytes; all integers are little-endian.
//   encode  stdout, for each text: u32 count, the ids, u32 length, decode(ids)
//   rate    stdout: how many tokens, a hash of them, and the best of 5 rates of encode() in MB/s, as one line
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace dynamo::text {
namespace {

void write_u32(uint32_t value) {
  std::fwrite(&value, sizeof value, 1, stdout);
}

std::vector<std::string> read_texts() {
  std::vector<std::string> texts;
  uint32_t size = 0;
  while (std::fread(&size, sizeof size, 1, stdin) == 1) {
    texts.emplace_back(size, '\0');
    if (std::fread(texts.back().data(), 1, size, stdin) != size) return {};
  }
  return texts;
}

void encode(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    const std::vector<TokenId> ids = tokenizer.encode(text);
    const std::string decoded = tokenizer.decode(ids, /*skip_special=*/false);
    write_u32(static_cast<uint32_t>(ids.size()));
    std::fwrite(ids.data(), sizeof(TokenId), ids.size(), stdout);
    write_u32(static_cast<uint32_t>(decoded.size()));
    std::fwrite(decoded.data(), 1, decoded.size(), stdout);
  }
}

void measure(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  size_t bytes = 0, tokens = 0;
  uint64_t hash = 0;
  for (const std::string& text : texts) {
    bytes += text.size();
    for (const TokenId id : tokenizer.encode(text)) {
      hash = hash * 1'000'003 + id;
      ++tokens;
    }
  }
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const auto start = std::chrono::steady_clock::now();
    size_t again = 0;
    for (const std::string& text : texts) again += tokenizer.encode(text).size();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (again == tokens) best = std::max(best, static_cast<double>(bytes) / 1e6 / took.count());
  }
  std::printf("%zu %llu %.2f\n", tokens, static_cast<unsigned long long>(hash), best);
}

int run(std::string_view command, const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string json((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto spec = tokenizer_spec_from_json(json);
  auto tokenizer = spec.is_ok() ? Tokenizer::create(std::move(spec).value()) : spec.status();
  if (!tokenizer.is_ok()) {
    std::fprintf(stderr, "%s: %s\n", path, tokenizer.status().to_string().c_str());
    return 1;
  }
  (command == "rate" ? measure : encode)(**tokenizer, read_texts());
  return 0;
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
