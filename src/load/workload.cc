#include "load/workload.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <random>
#include <string_view>

#include <fmt/format.h>

#include "json/object_reader.h"
#include "json/parse.h"
#include "json/read.h"

namespace dynamo::load {
namespace {

// Words that tokenizers trained on English keep whole, with the blank before them.
constexpr std::array<std::string_view, 64> kWords = {
    "the",   "of",   "and",  "to",   "in",  "that", "is",    "was",   "for",   "it",    "with",  "as",   "on",
    "be",    "at",   "by",   "this", "had", "not",  "are",   "but",   "from",  "or",    "have",  "an",   "they",
    "which", "one",  "you",  "were", "all", "her",  "she",   "there", "would", "their", "we",    "him",  "been",
    "has",   "when", "who",  "will", "no",  "more", "if",    "out",   "so",    "up",    "said",  "what", "its",
    "about", "than", "into", "them", "can", "only", "other", "time",  "new",   "some",  "could", "these"};

// splitmix64 of a counter (Steele, Lea, Flood 2014): token i of a piece without those before it.
uint64_t random_at(uint64_t seed, uint64_t index) {
  uint64_t bits = seed * 0xd1342543de82ef95 + (index + 1) * 0x9e3779b97f4a7c15;
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111eb;
  return bits ^ bits >> 31;
}

}  // namespace

std::vector<Conversation> synthetic(const SyntheticOptions& options) {
  std::mt19937_64 random(options.seed);
  const auto about = [&](uint32_t tokens) {
    if (options.spread == 0) return tokens;
    const double part = std::uniform_real_distribution<double>(-options.spread, options.spread)(random);
    return std::max(1U, static_cast<uint32_t>(std::lround(tokens * (1 + part))));
  };
  std::vector<Piece> prefixes;
  for (uint32_t i = 0; i < options.shared_prefixes; ++i) prefixes.push_back({random(), about(options.prefix_tokens)});
  std::vector<Conversation> all;
  for (uint32_t i = 0; i < options.conversations; ++i) {
    Conversation& conversation = all.emplace_back();
    if (!prefixes.empty()) conversation.opening = {prefixes[i % prefixes.size()]};
    for (uint32_t turn = 0; turn < options.turns; ++turn) {
      Turn& next = conversation.turns.emplace_back();
      next.prompt = {{random(), about(options.input_tokens)}};
      next.max_tokens = about(options.output_tokens);
    }
  }
  return all;
}

Result<std::vector<Conversation>> from_prompt_file(const std::string& path, uint32_t conversations,
                                                   uint32_t max_tokens) {
  std::ifstream file(path);
  if (!file) return not_found(fmt::format("{}: cannot be read", path));
  std::vector<std::string> prompts;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) prompts.push_back(line);
  if (prompts.empty()) return invalid(fmt::format("{}: holds no prompt; one is expected per line", path));
  std::vector<Conversation> all(conversations);
  for (uint32_t i = 0; i < conversations; ++i) {
    Turn& turn = all[i].turns.emplace_back();
    turn.text = prompts[i % prompts.size()];
    turn.max_tokens = max_tokens;
  }
  return all;
}

Result<Trace> read_trace(const std::string& path, const TraceOptions& options) {
  std::ifstream file(path);
  if (!file) return not_found(fmt::format("{}: cannot be read", path));
  Trace trace;
  uint64_t line_number = 0;
  for (std::string line; std::getline(file, line);) {
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto bad = [&](std::string_view why) {
      return corrupt(
          fmt::format("{}:{}: {}; a line looks like "
                      R"({{"timestamp": 0, "input_length": 1000, "output_length": 50, "hash_ids": [0, 1]}})",
                      path, line_number, why));
    };
    const auto document = json::parse_object(line);
    if (!document.is_ok()) return bad("not a JSON object: " + document.status().text());
    json::FirstProblem problem;
    json::ObjectReader members(document->get_object(), "", &problem);
    const double timestamp = members.required_number("timestamp", 0, 1e12);
    auto left = static_cast<uint32_t>(members.required_number("input_length", 1, 1e8));
    const auto output = static_cast<uint32_t>(members.required_number("output_length", 0, 1e8));
    const json::array* ids = members.array("hash_ids");
    if (ids == nullptr) problem.missing("hash_ids");
    if (problem.has_value()) return bad(json::describe(*problem));
    const uint64_t blocks = (uint64_t{left} + options.block_tokens - 1) / options.block_tokens;
    if (ids->size() != blocks) {
      return bad(fmt::format("{} hash_ids do not make {} tokens in blocks of {} (--trace-block-size)", ids->size(),
                             left, options.block_tokens));
    }
    if (options.max_input_tokens > 0 && left > options.max_input_tokens) {
      ++trace.left_out;
      continue;
    }
    Conversation conversation;
    conversation.at =
        std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(timestamp * options.time_scale));
    Turn turn;
    for (const json::value& id : *ids) {
      const auto number = json::whole_number(id);
      if (!number) return bad("'hash_ids' holds something that is no integer");
      const uint32_t tokens = std::min(left, options.block_tokens);
      turn.prompt.push_back({static_cast<uint64_t>(*number), tokens});
      left -= tokens;
    }
    turn.max_tokens = std::max(1U, output);
    conversation.turns.push_back(std::move(turn));
    trace.conversations.push_back(std::move(conversation));
    if (options.most > 0 && trace.conversations.size() >= options.most) break;
  }
  if (trace.conversations.empty()) {
    return corrupt(fmt::format("{}: holds no request{}", path,
                               trace.left_out > 0 ? " that is short enough (--max-input-tokens)" : ""));
  }
  std::ranges::stable_sort(trace.conversations, {}, [](const Conversation& conversation) { return *conversation.at; });
  const Duration first = *trace.conversations.front().at;
  for (Conversation& conversation : trace.conversations) *conversation.at -= first;
  return trace;
}

std::vector<uint32_t> tokens_of(const std::vector<Piece>& pieces, uint32_t first_token, uint32_t tokens) {
  std::vector<uint32_t> out;
  for (const Piece& piece : pieces)
    for (uint32_t i = 0; i < piece.tokens; ++i)
      out.push_back(first_token + static_cast<uint32_t>(random_at(piece.seed, i) % tokens));
  return out;
}

std::string text_of(const std::vector<Piece>& pieces) {
  std::string out;
  for (const Piece& piece : pieces) {
    for (uint32_t i = 0; i < piece.tokens; ++i) {
      if (!out.empty()) out += ' ';
      out += kWords[random_at(piece.seed, i) % kWords.size()];
    }
  }
  return out;
}

}  // namespace dynamo::load
