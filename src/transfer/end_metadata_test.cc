#include "transfer/end_metadata.h"

#include <gtest/gtest.h>

namespace dynamo::transfer {
namespace {

ShmMetadata shm() {
  return {.host = "boot/1",
          .address = "dynamo-kv-1",
          .secret = std::string(kSecretBytes, 's'),
          .pool_bytes = 77,
          .name = "end"};
}
TcpMetadata tcp() {
  return {
      .host = "::1", .port = 7400, .secret = std::string(kSecretBytes, 't'), .pool_bytes = 1ULL << 40, .name = "end"};
}

TEST(EndMetadata, IsTheSameAfterBytes) {
  auto of_shm = ShmMetadata::parse(shm().to_bytes());
  ASSERT_TRUE(of_shm.is_ok());
  EXPECT_EQ(of_shm->to_bytes(), shm().to_bytes());
  EXPECT_EQ(of_shm->pool_bytes, 77u);
  auto of_tcp = TcpMetadata::parse(tcp().to_bytes());
  ASSERT_TRUE(of_tcp.is_ok());
  EXPECT_EQ(of_tcp->to_bytes(), tcp().to_bytes());
  EXPECT_EQ(of_tcp->port, 7400);
}

TEST(EndMetadata, OfAnotherBackendOrVersionIsNamedWithOurs) {
  const Status backend = ShmMetadata::parse(tcp().to_bytes()).status();
  EXPECT_EQ(backend.code(), Code::kCorrupt);
  EXPECT_EQ(backend.text(), "metadata of backend 'tcp' was given to backend 'shm'");
  std::string bytes = tcp().to_bytes();
  bytes.resize(bytes.size() - sizeof(uint64_t));
  bytes[4 + 4 + 3] = 9;  // magic, "tcp"
  const Status version = TcpMetadata::parse(with_checksum(bytes)).status();
  EXPECT_EQ(version.code(), Code::kCorrupt);
  EXPECT_EQ(version.text(), "metadata of tcp version 9; this end speaks version 2");
}

TEST(EndMetadata, ABitThatFlippedIsCorrupt) {
  const std::string good = shm().to_bytes();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(ShmMetadata::parse(bad).status().code(), Code::kCorrupt) << bit;
  }
}

TEST(EndMetadata, ASecretOfAnotherSizeIsCorrupt) {
  TcpMetadata metadata = tcp();
  metadata.secret.push_back('x');
  EXPECT_EQ(TcpMetadata::parse(metadata.to_bytes()).status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace dynamo::transfer
