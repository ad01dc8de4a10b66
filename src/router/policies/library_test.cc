#include "router/policies/library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>

namespace dynamo::router {
namespace {

using ::testing::HasSubstr;

std::string path_of(const std::string& name) {
  return DYNAMO_POLICIES "/lib" + name + ".so";
}

Candidate worker(std::string_view name, uint32_t overlap, uint64_t requests, double cost) {
  return {.name = name, .instance = 1, .active_requests = requests, .overlap = {{overlap}}, .cost = cost};
}

class LibraryTest : public testing::Test {
 protected:
  // The library itself is let go: the policy alone keeps it loaded.
  std::unique_ptr<Policy> policy(const std::string& name, const std::string& config) {
    auto library = PolicyLibrary::open(path_of(name), config);
    EXPECT_TRUE(library.is_ok()) << library.status().to_string();
    return (*library)->make_policy(/*block_tokens=*/4, make_kv_policy(/*seed=*/1), &faults_);
  }
  static Choice choice(Policy* policy, const std::vector<Candidate>& candidates) {
    GenerateRequest request;
    request.id = "r1";
    request.prompt.tokens.assign(40, 1);
    const auto chosen = policy->choose(request, candidates, /*temperature=*/0);
    EXPECT_TRUE(chosen);
    return chosen.value_or(Choice{});
  }
  static Status refusal(const std::string& path, const std::string& config = "") {
    const auto library = PolicyLibrary::open(path, config);
    EXPECT_FALSE(library.is_ok());
    return library.status();
  }

  prometheus::Counter faults_;
};

TEST_F(LibraryTest, StickySessionStaysWithTheConversationWhileThereIsRoom) {
  const auto sticky = policy("sticky_session", "limit=2,min_overlap=3");
  Choice chosen = choice(sticky.get(), {worker("a", 3, 1, 90), worker("b", 0, 0, 10)});
  EXPECT_EQ(chosen.index, 0U);
  EXPECT_EQ(chosen.reason, "sticky_session/holds_the_conversation");
  chosen = choice(sticky.get(), {worker("a", 2, 1, 90), worker("b", 0, 0, 10)});  // too little to be its own
  EXPECT_EQ(chosen.index, 1U);
  EXPECT_EQ(chosen.reason, "sticky_session/new_conversation");
  chosen = choice(sticky.get(), {worker("a", 9, 2, 1), worker("b", 0, 0, 10)});  // full
  EXPECT_EQ(chosen.index, 1U);
  chosen = choice(sticky.get(), {worker("a", 5, 1, 8), worker("b", 5, 1, 7)});
  EXPECT_EQ(chosen.index, 1U);
  GenerateRequest request;
  const std::vector<Candidate> full = {worker("a", 9, 2, 1), worker("b", 0, 3, 10)};
  EXPECT_FALSE(sticky->choose(request, full, 0));
  EXPECT_EQ(faults_.Value(), 0);
}

TEST_F(LibraryTest, WhatIsNoPolicyLibraryIsRefusedWithTheReason) {
  const Status missing = refusal("/nowhere/libmine.so");
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_THAT(missing.text(), HasSubstr("/nowhere/libmine.so"));
  const std::string text = testing::TempDir() + "/not_a_library.so";
  std::ofstream(text) << "int main() {}\n";
  const Status unloadable = refusal(text);
  EXPECT_EQ(unloadable.code(), Code::kInvalid);
  EXPECT_THAT(unloadable.text(), HasSubstr("cannot be loaded as a library"));
  std::filesystem::remove(text);
  EXPECT_THAT(refusal(path_of("no_symbol")).text(), HasSubstr("exports no function dynamo_policy_v1"));
  EXPECT_THAT(refusal(path_of("other_version")).text(), HasSubstr("built for version 7"));
  EXPECT_THAT(refusal(path_of("other_version")).text(), HasSubstr("this program has version 1"));
}

TEST_F(LibraryTest, AConfigThatTheLibraryRefusesIsRefusedWithItsWords) {
  for (const char* config : {"limit", "limit=", "limit=x", "limit=0", "limit=-1", "limit=8x", "max=8", "limit=8 ,"}) {
    const Status status = refusal(path_of("sticky_session"), config);
    EXPECT_EQ(status.code(), Code::kInvalid) << config;
    EXPECT_THAT(status.text(), HasSubstr("is not limit=N or min_overlap=N")) << config;
  }
  EXPECT_THAT(refusal(path_of("misbehaving"), "create=never").text(), HasSubstr("no reason given"));
}

TEST_F(LibraryTest, AChoiceThatCannotBeUsedIsCountedAndTheBuiltInPolicyDecides) {
  double counted = 0;
  for (const char* config :
       {"index=2", "index=-2", "index=9223372036854775807", "reason=none", "reason=empty", "reason=binary"}) {
    const auto misbehaving = policy("misbehaving", config);
    for (int i = 0; i < 2; ++i) {
      const Choice chosen = choice(misbehaving.get(), {worker("a", 0, 0, 5), worker("b", 0, 0, 1)});
      EXPECT_EQ(chosen.index, 1U) << config;
      EXPECT_EQ(chosen.reason, "lowest_cost") << config;
      EXPECT_EQ(faults_.Value(), ++counted) << config;
    }
  }
}

TEST_F(LibraryTest, ReasonsAreCopiedCutOffAndLimitedInNumber) {
  const auto long_one = policy("misbehaving", "reason=long");
  EXPECT_EQ(choice(long_one.get(), {worker("a", 0, 0, 5)}).reason, "misbehaving/" + std::string(64, 'x'));
  const auto inventive = policy("misbehaving", "reason=new");
  std::vector<std::string_view> reasons;
  for (int i = 0; i < 100; ++i) reasons.push_back(choice(inventive.get(), {worker("a", 0, 0, 5)}).reason);
  EXPECT_EQ(reasons[0], "misbehaving/reason_1");  // still, though the library has written over its own
  EXPECT_EQ(reasons[31], "misbehaving/reason_32");
  EXPECT_EQ(reasons[32], "misbehaving/other");
  EXPECT_EQ(std::set<std::string_view>(reasons.begin(), reasons.end()).size(), 33U);
  EXPECT_EQ(faults_.Value(), 0);
}

TEST_F(LibraryTest, TheBuiltInPolicyServesWhereTheLibraryMakesNone) {
  const auto builtin = policy("misbehaving", "create=once");
  EXPECT_EQ(choice(builtin.get(), {worker("a", 0, 0, 5), worker("b", 0, 0, 1)}).reason, "lowest_cost");
}

}  // namespace
}  // namespace dynamo::router
