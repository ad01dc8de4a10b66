#include "hub/key_store.h"

#include <gtest/gtest.h>

namespace dynamo::hub {
namespace {

using std::chrono::seconds;

class KeyStoreTest : public testing::Test {
 protected:
  KeyStoreTest() {
    CHECK(store.grant(1, seconds(2), /*holder=*/10, start, {}).is_ok());
    CHECK(store.grant(2, seconds(2), /*holder=*/20, start, {}).is_ok());
  }

  const Time start{};
  std::vector<std::string> changes;
  KeyStore store{1000, [this](const std::string& key, const std::string* value) {
                   changes.push_back(key + (value ? "=" + *value : " gone"));
                 }};
};

TEST_F(KeyStoreTest, KeyBelongsToTheLeaseThatPutItLast) {
  ASSERT_TRUE(store.put(1, "k", "v").is_ok());
  ASSERT_TRUE(store.put(2, "k", "v").is_ok());
  ASSERT_TRUE(store.remove(1, "k").is_ok());
  ASSERT_TRUE(store.revoke(1).is_ok());
  EXPECT_EQ(changes, std::vector<std::string>({"k=v"}));
  ASSERT_TRUE(store.revoke(2).is_ok());
  EXPECT_EQ(changes, std::vector<std::string>({"k=v", "k gone"}));
}

TEST_F(KeyStoreTest, ClaimIsForOneLease) {
  EXPECT_TRUE(*store.claim(1, "k", "a"));
  EXPECT_FALSE(*store.claim(2, "k", "b"));
  EXPECT_FALSE(*store.claim(0, "k", "c"));
  EXPECT_TRUE(*store.claim(1, "k", "d"));
  EXPECT_EQ(changes, std::vector<std::string>({"k=a", "k=d"}));
}

TEST_F(KeyStoreTest, LeaseEndsWhenItsHolderWasNotHeardForItsTimeToLive) {
  ASSERT_TRUE(store.put(1, "k", "v").is_ok());
  store.renew(10, start + seconds(5));
  store.renew(20, start + seconds(9));
  EXPECT_TRUE(store.expire(start + seconds(7)).empty());
  const auto ended = store.expire(start + seconds(8));
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].lease, 1U);
  EXPECT_EQ(ended[0].holder, 10U);
  EXPECT_EQ(store.put(1, "k", "v").code(), Code::kNotFound);
}

TEST_F(KeyStoreTest, TakenOverLeaseIsNotReleasedByItsFormerHolder) {
  ASSERT_TRUE(store.grant(1, seconds(2), /*holder=*/11, start, {{"k", "v"}}).is_ok());
  store.release(10);
  store.renew(10, start + seconds(50));
  store.renew(11, start + seconds(5));
  store.renew(20, start + seconds(5));
  EXPECT_TRUE(store.expire(start + seconds(6)).empty());
  EXPECT_EQ(store.expire(start + seconds(8)).size(), 2U);
}

TEST_F(KeyStoreTest, RefusesMoreThanItsBound) {
  ASSERT_TRUE(store.put(1, "k", std::string(800, 'x')).is_ok());
  EXPECT_EQ(store.put(1, "l", std::string(200, 'x')).code(), Code::kExhausted);
  EXPECT_TRUE(store.put(1, "k", std::string(900, 'x')).is_ok());  // in place of its own bytes
  changes.clear();
  EXPECT_EQ(store.grant(1, seconds(2), 10, start, {{"m", std::string(1000, 'x')}}).code(), Code::kExhausted);
  EXPECT_TRUE(changes.empty());
  EXPECT_TRUE(store.grant(1, seconds(2), 10, start, {{"m", std::string(900, 'x')}}).is_ok());
  EXPECT_EQ(changes.front(), "k gone");
}

TEST_F(KeyStoreTest, RefusesWhatCannotBe) {
  EXPECT_EQ(store.put(3, "k", "v").code(), Code::kNotFound);
  EXPECT_EQ(store.put(1, "", "v").code(), Code::kInvalid);
  EXPECT_EQ(store.put(1, std::string(1025, 'k'), "v").code(), Code::kInvalid);
  EXPECT_EQ(store.grant(0, seconds(2), 10, start, {}).code(), Code::kInvalid);
  EXPECT_EQ(store.grant(4, seconds(0), 10, start, {}).code(), Code::kInvalid);
  EXPECT_EQ(store.revoke(4).code(), Code::kNotFound);
}

}  // namespace
}  // namespace dynamo::hub
