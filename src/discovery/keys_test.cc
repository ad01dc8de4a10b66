#include "discovery/keys.h"

#include <gtest/gtest.h>

namespace dynamo::discovery {
namespace {

TEST(Keys, AreThoseThatOtherVersionsAndPeopleWrite) {
  WorkerInstance worker;
  worker.instance = 0x1fULL << 40;
  worker.role = Role::kDecode;
  EXPECT_EQ(worker_key("ns", worker), "/dynamo/workers/ns/decode/00001f0000000000");
  EXPECT_EQ(workers_prefix("ns"), "/dynamo/workers/ns/");
  EXPECT_EQ(name_key("ns", Role::kPrefill, 12), "/dynamo/names/ns/prefill/12");
  EXPECT_EQ(names_prefix("ns", Role::kPrefill), "/dynamo/names/ns/prefill/");
  EXPECT_EQ(role_turn_key("ns", "Qwen/Qwen3-0.6B"), "/dynamo/roles/ns/qwen--qwen3-0-6b");
  EXPECT_EQ(frontend_key("ns", 0x2a), "/dynamo/frontends/ns/000000000000002a");
  EXPECT_EQ(config_key("Qwen/Qwen3-0.6B"), "/dynamo/config/qwen--qwen3-0-6b");
}

TEST(Keys, AllBeginWithThePrefixOfAll) {
  for (const NameForm* form : kAllKeys) EXPECT_TRUE(form->text.starts_with(kKeysPrefix)) << form->text;
}

TEST(Keys, AConfigKeyNamesTheSlug) {
  EXPECT_EQ(slug_of_config_key(config_key("A/b")), "a--b");
  EXPECT_TRUE(config_key("m").starts_with(config_prefix()));
  for (const char* other : {"/dynamo/config/", "/dynamo/config/a/b", "/dynamo/config", "/dynamo/workers/a", ""})
    EXPECT_EQ(slug_of_config_key(other), std::nullopt) << other;
}

TEST(Slug, IsLowerCaseAndFitForAKey) {
  EXPECT_EQ(slug_of("Qwen/Qwen3-0.6B"), "qwen--qwen3-0-6b");
  EXPECT_EQ(slug_of("a b\xC3\xA9_c"), "a-b--_c");
}

}  // namespace
}  // namespace dynamo::discovery
