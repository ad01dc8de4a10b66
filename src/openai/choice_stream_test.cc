#include "openai/choice_stream.h"

#include <gtest/gtest.h>

#include <random>

#include "openai/testing/test_model.h"

namespace dynamo::openai {
namespace {

using testing::byte_tokenizer;
using testing::chunk_of;
using testing::kImEnd;
using testing::kImStart;

struct Read {
  std::string text;
  std::vector<std::string> pieces;
  std::vector<ShownToken> tokens;
  std::optional<FinishReason> finish;
  uint32_t generated = 0;
};

// Pushes chunks until the choice is over.
Read read(const RequestOptions& options, const std::vector<TokenChunk>& chunks, std::string_view echo = "") {
  static const auto tokenizer = byte_tokenizer();
  ChoiceStream stream(tokenizer.get(), options, echo);
  Read out;
  for (const TokenChunk& chunk : chunks) {
    ChoicePiece piece = stream.push(chunk);
    out.text += piece.text;
    out.pieces.push_back(piece.text);
    out.tokens.insert(out.tokens.end(), piece.tokens.begin(), piece.tokens.end());
    out.finish = piece.finish;
    if (piece.finish) break;
  }
  out.generated = stream.tokens();
  return out;
}

std::vector<TokenChunk> one_by_one(std::string_view text, FinishReason finish) {
  std::vector<TokenChunk> chunks;
  for (size_t i = 0; i < text.size(); ++i) chunks.push_back(chunk_of(text.substr(i, 1)));
  chunks.back().finish = finish;
  if (finish == FinishReason::kStop) chunks.back().tokens.push_back(kImEnd);
  return chunks;
}

std::vector<TokenChunk> with_logprobs(std::vector<TokenChunk> chunks) {
  for (TokenChunk& chunk : chunks) {
    for (const TokenId token : chunk.tokens) chunk.logprobs.push_back(TokenLogprobs{{token, -1}, {}});
  }
  return chunks;
}

std::string tokens_text(const Read& out) {
  std::string text;
  for (const ShownToken& token : out.tokens) text += static_cast<char>(token.logprobs.drawn.token);
  return text;
}

TEST(ChoiceStream, TheStopIdIsCountedAndNotShown) {
  const Read out = read(RequestOptions(), {chunk_of("He"), chunk_of("llo", FinishReason::kStop)});
  EXPECT_EQ(out.text, "Hello");
  EXPECT_EQ(out.generated, 6U);
  EXPECT_EQ(out.finish, FinishReason::kStop);
}

TEST(ChoiceStream, TheLastTokenAtTheLengthIsShown) {
  const Read out = read(RequestOptions(), {chunk_of("Hello", FinishReason::kLength)});
  EXPECT_EQ(out.text, "Hello");
  EXPECT_EQ(out.generated, 5U);
  EXPECT_EQ(out.finish, FinishReason::kLength);
}

TEST(ChoiceStream, ACharacterIsShownWhole) {
  const Read out = read(RequestOptions(), one_by_one("a漢b", FinishReason::kStop));
  EXPECT_EQ(out.pieces, (std::vector<std::string>{"a", "", "", "漢", "b"}));
  EXPECT_EQ(read(RequestOptions(), one_by_one("a\xe6\xbc", FinishReason::kLength)).text, "a\xef\xbf\xbd");
}

TEST(ChoiceStream, AStopStringIsFoundAcrossTokensAndCharacters) {
  RequestOptions options;
  options.stop = {"é漢"};
  const Read out = read(options, one_by_one("caé漢x", FinishReason::kStop));
  EXPECT_EQ(out.text, "ca");
  EXPECT_EQ(out.finish, FinishReason::kStop);
  EXPECT_EQ(out.generated, 7U) << "what comes after the stop string is not read";
}

TEST(ChoiceStream, WhatTurnsOutNoStopStringIsShown) {
  RequestOptions options;
  options.stop = {"STOP"};
  EXPECT_EQ(read(options, one_by_one("aSTO", FinishReason::kStop)).text, "aSTO");
  EXPECT_EQ(read(options, one_by_one("STSTOP", FinishReason::kLength)).text, "ST");
}

TEST(ChoiceStream, TheStopStringIsShownIfAskedFor) {
  RequestOptions options;
  options.stop = {"STOP"};
  options.includes_stop = true;
  EXPECT_EQ(read(options, one_by_one("aSTOPb", FinishReason::kStop)).text, "aSTOP");
}

TEST(ChoiceStream, StopStringsWithinMinTokensDoNotEnd) {
  RequestOptions options;
  options.stop = {"b"};
  options.min_tokens = 3;
  EXPECT_EQ(read(options, one_by_one("abababb", FinishReason::kStop)).text, "aba");
}

TEST(ChoiceStream, AStopStringThatEndsAfterMinTokensCountsWhereverItBegins) {
  RequestOptions options;
  options.stop = {"END"};
  for (uint32_t least = 0; least < 8; ++least) {
    SCOPED_TRACE(least);
    options.min_tokens = least;
    const Read out = read(options, one_by_one("abENDcEND", FinishReason::kLength));
    EXPECT_EQ(out.text, least < 5 ? "ab" : "abENDc");
    EXPECT_EQ(out.generated, least < 5 ? 5U : 9U);
    EXPECT_EQ(out.finish, FinishReason::kStop);
  }
  options.min_tokens = 9;
  const Read out = read(options, one_by_one("abENDcEND", FinishReason::kLength));
  EXPECT_EQ(out.text, "abENDcEND");
  EXPECT_EQ(out.finish, FinishReason::kLength);
}

TEST(ChoiceStream, ItIsShownWithWhatStoodOfItBeforeIfAskedFor) {
  RequestOptions options;
  options.stop = {"END"};
  options.min_tokens = 4;
  options.includes_stop = true;
  const Read out = read(options, with_logprobs(one_by_one("abENDc", FinishReason::kLength)));
  EXPECT_EQ(out.text, "abEND");
  EXPECT_EQ(tokens_text(out), "abEND");
  options.includes_stop = false;
  EXPECT_EQ(tokens_text(read(options, with_logprobs(one_by_one("abENDc", FinishReason::kLength)))), "ab");
}

TEST(ChoiceStream, ACharacterBelongsToTheTokenThatEndsIt) {
  RequestOptions options;
  options.stop = {"é"};
  options.min_tokens = 2;
  EXPECT_EQ(read(options, one_by_one("aéb", FinishReason::kLength)).text, "a") << "its second byte is the third token";
  options.min_tokens = 3;
  EXPECT_EQ(read(options, one_by_one("aéb", FinishReason::kLength)).text, "aéb");
}

TEST(ChoiceStream, AStopTokenReleasesTheTextHeldBackForMinTokens) {
  RequestOptions options;
  options.stop = {"END"};
  options.min_tokens = 3;
  EXPECT_EQ(read(options, one_by_one("abEN", FinishReason::kStop)).text, "abEN");
  EXPECT_EQ(read(options, {chunk_of("abEN"), chunk_of("x", FinishReason::kLength)}).text, "abENx");
}

TEST(ChoiceStream, SpecialTokensAreShownOnlyIfAskedFor) {
  TokenChunk chunk = chunk_of("a", FinishReason::kLength);
  chunk.tokens.push_back(kImStart);
  EXPECT_EQ(read(RequestOptions(), {chunk}).text, "a");
  RequestOptions options;
  options.skips_special_tokens = false;
  EXPECT_EQ(read(options, {chunk}).text, "a<|im_start|>");
}

TEST(ChoiceStream, TheSameTextWhereverTheChunksAreCut) {
  const std::string text = "one é two 漢字 STO three 😀 STOP four";
  RequestOptions options;
  options.stop = {"STOP", "OP fo"};
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<TokenChunk> chunks;
    for (size_t at = 0; at < text.size();) {
      const size_t length = std::min<size_t>(random() % 6, text.size() - at);
      chunks.push_back(chunk_of(text.substr(at, length)));
      at += length;
    }
    chunks.push_back(chunk_of("", FinishReason::kStop));
    EXPECT_EQ(read(options, chunks).text, "one é two 漢字 STO three 😀 ");
  }
}

TEST(ChoiceStreamLogprobs, AreOfTheTokensShownAndNoOthers) {
  EXPECT_EQ(tokens_text(read(RequestOptions(), with_logprobs(one_by_one("aé", FinishReason::kStop)))), "aé");
  RequestOptions options;
  options.stop = {"ST"};
  EXPECT_EQ(tokens_text(read(options, with_logprobs(one_by_one("aSbSTc", FinishReason::kStop)))), "aSb");
  EXPECT_EQ(tokens_text(read(options, with_logprobs(one_by_one("aS", FinishReason::kStop)))), "aS");
}

TEST(ChoiceStreamLogprobs, OffsetsCountCharactersAfterTheEcho) {
  const Read out = read(RequestOptions(), with_logprobs(one_by_one("é漢x", FinishReason::kLength)), "éé");
  std::vector<uint32_t> offsets;
  for (const ShownToken& token : out.tokens) offsets.push_back(token.text_offset);
  EXPECT_EQ(offsets, (std::vector<uint32_t>{2, 2, 3, 3, 3, 4}));
}

}  // namespace
}  // namespace dynamo::openai
