#include "frontend/live_settings.h"

#include <gtest/gtest.h>

#include "discovery/keys.h"

namespace dynamo::frontend {
namespace {

TEST(Settings, WhatIsNotSaidStays) {
  router::RouterSettings base;
  base.overlap_weight = 3;
  base.busy_threshold = 0.5;
  const auto read = settings_from_json(R"({"router_temperature": 0.7})", base);
  ASSERT_TRUE(read.is_ok());
  EXPECT_EQ(read->overlap_weight, 3);
  EXPECT_EQ(read->temperature, 0.7);
  EXPECT_EQ(read->busy_threshold, 0.5);
  EXPECT_FALSE(settings_from_json(R"({"busy_threshold": null})", base)->busy_threshold);
  EXPECT_EQ(read->max_local_prefill_length, 0U);
  EXPECT_EQ(settings_from_json(R"({"max_local_prefill_length": 64})", base)->max_local_prefill_length, 64U);
  EXPECT_FALSE(settings_from_json(R"({"max_local_prefill_length": "auto"})", base)->max_local_prefill_length);
}

TEST(Settings, WhatIsWrongIsNamed) {
  for (const auto& [text, named] :
       std::vector<std::pair<std::string, std::string>>{{"[]", "object"},
                                                        {"{", "object"},
                                                        {R"({"weight": 1})", "weight"},
                                                        {R"({"overlap_score_weight": -1})", "overlap_score_weight"},
                                                        {R"({"router_temperature": "hot"})", "hot"},
                                                        {R"({"max_local_prefill_length": "many"})", "many"},
                                                        {R"({"max_local_prefill_length": -1})", "-1"},
                                                        {R"({"busy_threshold": 2})", "busy_threshold"}}) {
    const auto read = settings_from_json(text, {});
    EXPECT_EQ(read.status().code(), Code::kInvalid) << text;
    EXPECT_NE(read.status().text().find(named), std::string::npos) << read.status().text();
  }
}

TEST(LiveSettings, AKeyHoldsForTheModelsOfItsSlugUntilItIsGone) {
  router::RouterSettings base;
  base.temperature = 0.5;
  LiveSettings settings(base);
  const std::string key = discovery::config_key("Org/Model");
  EXPECT_EQ(settings.apply({key, R"({"router_temperature": 2})"}), "org--model");
  EXPECT_EQ(settings.of("Org/Model").temperature, 2);
  EXPECT_EQ(settings.of("org/model").temperature, 2) << "of the same slug";
  EXPECT_EQ(settings.of("other").temperature, 0.5);
  EXPECT_EQ(settings.apply({key, std::nullopt}), "org--model");
  EXPECT_EQ(settings.of("Org/Model").temperature, 0.5);
}

TEST(LiveSettings, OnesThatCannotBeReadAreAsNone) {
  LiveSettings settings({});
  const std::string key = discovery::config_key("m");
  settings.apply({key, R"({"router_temperature": 2})"});
  EXPECT_EQ(settings.apply({key, R"({"router_temperature": 2, "more": 1})"}), "m");
  EXPECT_EQ(settings.of("m").temperature, 0);
}

TEST(LiveSettings, OtherKeysAreNoSettings) {
  LiveSettings settings({});
  for (const char* key : {"/dynamo/config/", "/dynamo/config/m/deeper", "/dynamo/workers/m", ""})
    EXPECT_EQ(settings.apply({key, R"({"router_temperature": 2})"}), std::nullopt) << key;
  EXPECT_EQ(settings.of("m").temperature, 0);
}

}  // namespace
}  // namespace dynamo::frontend
