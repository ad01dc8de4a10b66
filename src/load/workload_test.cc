#include "load/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace dynamo::load {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class File {
 public:
  explicit File(const std::string& text)
      : path_(std::filesystem::temp_directory_path() /
              ("load_" + std::to_string(::getpid()) + "_" + std::to_string(++count_))) {
    std::ofstream(path_) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  static inline int count_ = 0;
  std::filesystem::path path_;
};

std::string line(int64_t time, uint32_t input, const std::string& ids) {
  return R"({"timestamp": )" + std::to_string(time) + R"(, "input_length": )" + std::to_string(input) +
         R"(, "output_length": 5, "hash_ids": [)" + ids + "]}\n";
}

TEST(Workload, ConversationsShareTheirPrefixesInTurnAndNothingElse) {
  SyntheticOptions options;
  options.conversations = 6;
  options.turns = 2;
  options.shared_prefixes = 2;
  options.prefix_tokens = 50;
  options.input_tokens = 20;
  const auto all = synthetic(options);
  ASSERT_EQ(all.size(), 6U);
  EXPECT_EQ(all[0].opening, all[2].opening);
  EXPECT_NE(all[0].opening, all[1].opening);
  EXPECT_NE(all[0].turns[0].prompt, all[2].turns[0].prompt);
  EXPECT_NE(all[0].turns[0].prompt, all[0].turns[1].prompt);
  EXPECT_EQ(tokens_of(all[0].opening, 0, 100).size(), 50U);
  EXPECT_EQ(synthetic(options)[3].turns[1].prompt, all[3].turns[1].prompt);  // same seed
  options.seed = 2;
  EXPECT_NE(synthetic(options)[3].turns[1].prompt, all[3].turns[1].prompt);
}

TEST(Workload, LengthsSpreadAroundTheirMean) {
  SyntheticOptions options;
  options.conversations = 2000;
  options.input_tokens = 100;
  options.spread = 0.5;
  uint64_t sum = 0;
  for (const Conversation& one : synthetic(options)) {
    const uint32_t tokens = one.turns[0].prompt[0].tokens;
    EXPECT_GE(tokens, 50U);
    EXPECT_LE(tokens, 150U);
    sum += tokens;
  }
  EXPECT_NEAR(static_cast<double>(sum) / 2000, 100, 3);
}

TEST(Workload, APieceAlwaysHasTheSameTokensInTheRange) {
  const auto tokens = tokens_of({{7, 1000}, {8, 10}}, 100, 50);
  ASSERT_EQ(tokens.size(), 1010U);
  for (const uint32_t token : tokens) EXPECT_TRUE(token >= 100 && token < 150);
  EXPECT_EQ(tokens_of({{8, 10}}, 100, 50), std::vector<uint32_t>(tokens.end() - 10, tokens.end()));
  std::istringstream words(text_of({{7, 30}}));
  EXPECT_EQ(std::distance(std::istream_iterator<std::string>(words), {}), 30);
}

TEST(Workload, PromptsOfAFileAreUsedInTurn) {
  const File file("one\n\ntwo\n");
  const auto all = from_prompt_file(file.path(), 3, 9);
  ASSERT_TRUE(all.is_ok());
  EXPECT_THAT((std::vector<std::string>{(*all)[0].turns[0].text, (*all)[1].turns[0].text, (*all)[2].turns[0].text}),
              ElementsAre("one", "two", "one"));
  EXPECT_EQ((*all)[2].turns[0].max_tokens, 9U);
  EXPECT_EQ(from_prompt_file("/nowhere/x", 1, 1).status().code(), Code::kNotFound);
  const File empty("\n\n");
  EXPECT_EQ(from_prompt_file(empty.path(), 1, 1).status().code(), Code::kInvalid);
}

TEST(Trace, RequestsComeInOrderOfTimeFromTheFirstOne) {
  const File file(line(3000, 1000, "1, 2") + "\n" + line(1000, 600, "1, 3") + line(2000, 512, "4"));
  TraceOptions options;
  options.time_scale = 0.5;
  const auto trace = read_trace(file.path(), options);
  ASSERT_TRUE(trace.is_ok()) << trace.status().to_string();
  const auto& all = trace->conversations;
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(*all[0].at, Duration::zero());
  EXPECT_EQ(*all[1].at, std::chrono::milliseconds(500));
  EXPECT_EQ(*all[2].at, std::chrono::milliseconds(1000));
  EXPECT_THAT(all[0].turns[0].prompt, ElementsAre(Piece{1, 512}, Piece{3, 88}));
  EXPECT_EQ(all[0].turns[0].max_tokens, 5U);
}

TEST(Trace, LongRequestsCanBeLeftOut) {
  const File file(line(0, 1000, "1, 2") + line(10, 100, "3") + line(20, 100, "4"));
  TraceOptions options;
  options.max_input_tokens = 500;
  auto trace = read_trace(file.path(), options);
  ASSERT_TRUE(trace.is_ok());
  EXPECT_EQ(trace->conversations.size(), 2U);
  EXPECT_EQ(trace->left_out, 1U);
  options.most = 1;
  EXPECT_EQ(read_trace(file.path(), options)->conversations.size(), 1U);
  options.max_input_tokens = 50;
  EXPECT_THAT(read_trace(file.path(), options).status().text(), HasSubstr("--max-input-tokens"));
}

TEST(Trace, BadLinesAreNamedWithWhatIsWrong) {
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"nonsense", ":1: not a JSON object"},
           {line(0, 512, "1") + "[]", ":2: not a JSON object"},
           {line(-5, 512, "1"), "'timestamp'"},
           {R"({"timestamp":0,"input_length":"x","output_length":1,"hash_ids":[]})", "'input_length'"},
           {R"({"timestamp":0,"input_length":10,"hash_ids":[1]})", "'output_length'"},
           {R"({"timestamp":0,"input_length":10,"output_length":1})", "'hash_ids'"},
           {line(0, 513, "1"), "1 hash_ids do not make 513 tokens in blocks of 512"},
           {line(0, 512, "\"a\""), "'hash_ids' holds something"},
           {line(0, 512, "1.5"), "'hash_ids' holds something"},
           {line(0, 512, "1e300"), "'hash_ids' holds something"},
           {"\n", "holds no request"}}) {
    const File file(text);
    const auto trace = read_trace(file.path(), {});
    EXPECT_EQ(trace.status().code(), Code::kCorrupt) << text;
    EXPECT_THAT(trace.status().text(), HasSubstr(why));
    EXPECT_THAT(trace.status().text(), HasSubstr(file.path()));
  }
}

}  // namespace
}  // namespace dynamo::load
