#include "discovery/key_view.h"

#include <gtest/gtest.h>

namespace dynamo::discovery {
namespace {

using Changes = KeyView::Changes;

TEST(KeyView, TellsTheDifferenceToWhatWasTold) {
  KeyView view;
  EXPECT_EQ(view.replace({}), Changes());
  EXPECT_EQ(view.replace({}), std::nullopt);
  EXPECT_EQ(view.replace({{"a", "1"}, {"b", "1"}}), (Changes{{"a", "1"}, {"b", "1"}}));
  EXPECT_EQ(view.replace({{"b", "2"}, {"c", "1"}}), (Changes{{"a", std::nullopt}, {"b", "2"}, {"c", "1"}}));
  EXPECT_FALSE(view.apply({"b", "2"}));
  EXPECT_FALSE(view.apply({"x", std::nullopt}));
  EXPECT_TRUE(view.apply({"b", std::nullopt}));
  EXPECT_TRUE(view.apply({"b", "2"}));
}

TEST(KeyView, KeepsWhatARestartedStoreMayNotKnowYet) {
  KeyView view;
  view.replace({{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}, {"e", "1"}});
  EXPECT_EQ(view.replace({{"a", "1"}}, KeyView::Missing::kKept), std::nullopt);
  EXPECT_FALSE(view.apply({"b", "1"}));  // is back as it was
  EXPECT_TRUE(view.apply({"c", "2"}));
  EXPECT_TRUE(view.apply({"d", std::nullopt}));
  EXPECT_EQ(view.settle(), (Changes{{"e", std::nullopt}}));
  EXPECT_EQ(view.settle(), Changes());
}

}  // namespace
}  // namespace dynamo::discovery
