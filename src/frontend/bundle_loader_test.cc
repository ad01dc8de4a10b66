#include "frontend/bundle_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/post.hpp>

#include "base/testing/fake_clock.h"
#include "base/testing/patience.h"
#include "frontend/testing/test_catalog.h"
#include "frontend/testing/test_worker.h"
#include "rpc/testing/fake_worker_client.h"

namespace dynamo::frontend {
namespace {

using rpc::FakeWorkerClient;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(OpenBundle, GivesWhatSpeaksForAModel) {
  const std::string bytes = test_bundle("{{ messages[0].content }}");
  const auto loaded = open_bundle(bytes, model_bundle::digest_of(bytes));
  ASSERT_TRUE(loaded.is_ok()) << loaded.status().to_string();
  EXPECT_EQ(loaded->card.vocab_size, 256U);
  EXPECT_NE(loaded->tokenizer, nullptr);
  EXPECT_NE(loaded->chat_template, nullptr);
}

TEST(OpenBundle, OneWithoutATemplateHasNone) {
  const std::string bytes = test_bundle();
  EXPECT_EQ(open_bundle(bytes, model_bundle::digest_of(bytes))->chat_template, nullptr);
}

TEST(OpenBundle, OtherBytesThanTheDigestNamesAreRefused) {
  EXPECT_EQ(open_bundle(test_bundle(), "00ff").status().code(), Code::kCorrupt);
  EXPECT_EQ(open_bundle("no bundle", model_bundle::digest_of("no bundle")).status().code(), Code::kCorrupt);
}

TEST(OpenBundle, ATemplateThatCannotBeReadIsRefused) {
  const std::string bytes = test_bundle("{% if %}");
  EXPECT_FALSE(open_bundle(bytes, model_bundle::digest_of(bytes)).is_ok());
}

class BundleLoaderTest : public testing::Test {
 protected:
  ~BundleLoaderTest() override { scope_.stop(); }

  std::shared_ptr<FakeWorkerClient> add(uint64_t instance) {
    auto remote = std::make_shared<FakeWorkerClient>();
    if (const auto model = catalog_.add(test_worker(instance), remote)) model_ = *model;
    return remote;
  }
  bool is_served() const { return catalog_.find("m") != nullptr; }
  // Lets what waits at the clock go on, until `is_done`.
  bool advance_until(const std::function<bool()>& is_done) {
    return wait_until([&] {
      boost::asio::post(io_.at(0), [this] { clock_.advance_to_next(); });
      return is_done();
    });
  }

  FakeClock clock_;
  Metrics metrics_;
  LiveSettings settings_{{}};
  IoThreads io_{1};
  TaskScope scope_{&io_};
  ModelId model_;
  ModelCatalog catalog_{test_catalog(&settings_, &metrics_, [](uint64_t) {})};
  BundleLoader loader_{&catalog_, &scope_, &clock_};
};

TEST_F(BundleLoaderTest, TheFirstWorkersBundleServesTheModel) {
  const auto first = add(1);
  const auto second = add(2);
  first->give_model(test_bundle());
  loader_.load(model_);
  EXPECT_TRUE(wait_until([&] { return is_served(); }));
  EXPECT_EQ(second->models_asked(), 0U);
}

TEST_F(BundleLoaderTest, WorkersAreAskedInTurnUntilOneBringsIt) {
  const auto first = add(1);
  const auto second = add(2);
  first->give_model(unavailable("not connected"));
  second->give_model(std::string("other bytes"));
  first->give_model(test_bundle());
  loader_.load(model_);
  EXPECT_TRUE(advance_until([&] { return is_served(); }));
  EXPECT_EQ(first->models_asked(), 2U);
  EXPECT_EQ(second->models_asked(), 1U);
}

TEST_F(BundleLoaderTest, EachFetchMayTakeTwiceAsLongUpToHalfAMinute) {
  const auto remote = add(1);
  for (int i = 0; i < 5; ++i) remote->give_model(deadline("too slow"));
  loader_.load(model_);
  EXPECT_TRUE(advance_until([&] { return remote->models_asked() == 5; }));
  using std::chrono::seconds;
  // After each a pause of a second.
  EXPECT_THAT(remote->limits(Time{}),
              ElementsAre(seconds(5), seconds(1 + 10), seconds(2 + 20), seconds(3 + 30), seconds(4 + 30)));
}

TEST_F(BundleLoaderTest, ItEndsWhenTheModelIsGone) {
  const auto remote = add(1);
  remote->give_model(unavailable("not connected"));
  loader_.load(model_);
  EXPECT_TRUE(wait_until([&] { return remote->models_asked() == 1; }));
  catalog_.remove(1);
  const auto again = add(1);
  EXPECT_TRUE(advance_until([&] { return remote.use_count() == 1; })) << "the loader holds it";
  EXPECT_EQ(remote->models_asked(), 1U);
  EXPECT_EQ(again->models_asked(), 0U) << "it is of another model";
}

TEST_F(BundleLoaderTest, StoppingEndsAFetchThatHangs) {
  const auto remote = add(1);
  loader_.load(model_);
  EXPECT_TRUE(wait_until([&] { return remote->models_asked() == 1; }));
  scope_.stop();
  loader_.load(model_);
  EXPECT_EQ(remote->models_asked(), 1U);
}

}  // namespace
}  // namespace dynamo::frontend
