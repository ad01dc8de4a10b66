#include "transfer/end_metadata.h"
#include "transfer/testing/conformance.h"

namespace dynamo::transfer {

INSTANTIATE_TEST_SUITE_P(Shm, Conformance, testing::Values(Backend{"shm", make_shm_transport}), name_of_backend);

namespace {

TEST(ShmTransport, APoolWithoutAMemfdIsUnsupported) {
  std::vector<std::byte> memory(4096);
  TransportOptions options;
  options.pool = {.data = memory.data(), .bytes = memory.size()};
  EXPECT_EQ(make_shm_transport(options).status().code(), Code::kUnsupported);
}

TEST(ShmTransport, AnEndOfAnotherHostIsUnsupported) {
  End end(Backend{"shm", make_shm_transport}, 4096, "end");
  auto other = ShmMetadata::parse(end.transport().metadata());
  ASSERT_TRUE(other.is_ok());
  other->host = "another/1";
  const Status status = end.transport().add_peer(other->to_bytes()).status();
  EXPECT_EQ(status.code(), Code::kUnsupported);
  EXPECT_NE(status.text().find("another/1"), std::string::npos);
}

TEST(ShmTransport, AnEndWithoutTheSecretIsRefused) {
  End sender(Backend{"shm", make_shm_transport}, 4096, "sender");
  End receiver(Backend{"shm", make_shm_transport}, 4096, "receiver");
  auto guessed = ShmMetadata::parse(receiver.transport().metadata());
  ASSERT_TRUE(guessed.is_ok());
  guessed->secret = std::string(kSecretBytes, 'x');
  auto peer = sender.transport().add_peer(guessed->to_bytes());
  ASSERT_TRUE(peer.is_ok());
  const PutId put = sender.put(*peer, {}, "in");
  ASSERT_TRUE(drive({&sender, &receiver}, [&] { return sender.has_finished(put); }));
  EXPECT_EQ(sender.how(put).code(), Code::kUnavailable);
  EXPECT_TRUE(receiver.notifications.empty());
}

}  // namespace
}  // namespace dynamo::transfer
