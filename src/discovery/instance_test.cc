#include "discovery/instance.h"

#include <gtest/gtest.h>

namespace dynamo::discovery {
namespace {

WorkerInstance example() {
  return {.instance = 0x1fULL << 40,
          .name = "worker-1",
          .role = Role::kDecode,
          .model = "Qwen/Qwen3-0.6B",
          .address = "10.0.0.1:4711",
          .block_tokens = 16,
          .total_blocks = 2048,
          .max_batch_tokens = 512,
          .max_sequences = 64,
          .context_length = 8192,
          .model_digest = "00ff",
          .transfer = "tcp,shm",
          .started_at = 1700000000000,
          .version = "0.1.0"};
}

TEST(WorkerInstance, ComesBackFromItsJson) {
  const auto read = worker_from_json(to_json(example()));
  ASSERT_TRUE(read.is_ok()) << read.status().to_string();
  EXPECT_EQ(*read, example());
}

TEST(WorkerInstance, OneThatLeavesSaysSo) {
  WorkerInstance worker = example();
  EXPECT_EQ(to_json(worker).find("leaving"), std::string::npos);
  worker.is_leaving = true;
  EXPECT_EQ(worker_from_json(to_json(worker)).value(), worker);
}

TEST(WorkerInstance, AnOlderInstanceHasNoKnownLimitOfSequences) {
  WorkerInstance worker = example();
  worker.max_sequences = 0;
  const std::string text = to_json(worker);
  EXPECT_EQ(text.find("max_sequences"), std::string::npos);
  EXPECT_EQ(worker_from_json(text).value(), worker);
}

TEST(WorkerInstance, MembersThatItDoesNotKnowAreIgnored) {
  std::string text = to_json(example());
  text.insert(1, R"("later":{"x":[1]},)");
  EXPECT_EQ(worker_from_json(text).value(), example());
}

TEST(WorkerInstance, WhatIsWrongIsNamed) {
  const std::string good = to_json(example());
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    const size_t at = text.find(from);
    CHECK(at != std::string::npos);
    return text.replace(at, from.size(), to);
  };
  const std::pair<std::string, const char*> cases[] = {
      {"garbage", "JSON"},
      {"[]", "JSON"},
      {std::string(100, '['), "JSON"},
      {with(R"("block_size":16)", R"("block_size":0)"), "block_size"},
      {with(R"("block_size":16)", R"("block_size":"16")"), "block_size"},
      {with(R"("block_size":16)", R"("block_size":-16)"), "block_size"},
      {with(R"("block_size":16)", R"("block_size":1.5)"), "block_size"},
      {with(R"("total_blocks":2048,)", ""), "total_blocks"},
      {with(R"("max_sequences":64)", R"("max_sequences":0)"), "max_sequences"},
      {with(R"("role":"decode")", R"("role":"chef")"), "chef"},
      {with("00001f0000000000", "00001G0000000000"), "instance"},
      {with("00001f0000000000", "0"), "instance"},
      {with(R"("name":"worker-1")", R"("name":"")"), "name"},
      {with("10.0.0.1:4711", "10.0.0.1"), "address"},
      {with("10.0.0.1:4711", "::1:4711"), "write [::1]:4711"},
      {with(R"("name":"worker-1")", R"("name":"worker-1","leaving":1)"), "leaving"},
      {with("worker-1", "worker-1\\r\\nset-cookie: session=evil"), "'name' is 'worker-1??set-cookie: session=evil'"},
      {with("worker-1", "worker 1"), "name"},
      {with("worker-1", "w\xC3\xB6rker-1"), "name"},
      {with("worker-1", std::string(129, 'w')), "name"},
      {with(R"("Qwen/Qwen3-0.6B")", R"("")"), "model"},
      {with("Qwen/", "Qwen\\u001b[2J"), "model"},
      {with("Qwen/", "Qwen\\u009b2J"), "model"},
      {with("Qwen/", "Qwen\\u007f"), "model"},
      {with("Qwen/", std::string(250, 'q')), "model"},
      {with("10.0.0.1:4711", "10.0.0.1"), "address"},
      {with("10.0.0.1:4711", ":4711"), "address"},
      {with("10.0.0.1:4711", "10.0.0.1:0"), "address"},
      {with("10.0.0.1:4711", "10.0.0.1:65536"), "address"},
      {with("10.0.0.1:4711", "10.0.0.1:47x"), "address"},
      {with("10.0.0.1:4711", "a\\nb:4711"), "address"},
      {with("00ff", "00\\nff"), "model_digest"},
      {with("tcp,shm", "tcp shm"), "transfer"},
      {with(R"("0.1.0")", R"("0.1\u0000")"), "version"},
  };
  for (const auto& [text, named] : cases) {
    const auto read = worker_from_json(text);
    ASSERT_EQ(read.status().code(), Code::kCorrupt) << text;
    EXPECT_NE(read.status().text().find(named), std::string::npos) << read.status().text();
  }
}

TEST(WorkerInstance, NamesAndAddressesAsPeopleHaveThemAreTaken) {
  WorkerInstance worker = example();
  for (const char* model : {"Qwen/Qwen3-0.6B", "my model: v2 (test)", "mod\xC3\xA8le", "\xE6\xA8\xA1\xE5\x9E\x8B"}) {
    worker.model = model;
    EXPECT_EQ(worker_from_json(to_json(worker)).value(), worker);
  }
  for (const char* address :
       {"127.0.0.1:1", "node-7.cluster_a.local:65535", "[2001:db8::1]:4711", "[fe80::1%eth0]:80"}) {
    worker.address = address;
    EXPECT_EQ(worker_from_json(to_json(worker)).value(), worker);
  }
  worker.model_digest = worker.transfer = worker.version = "";
  EXPECT_EQ(worker_from_json(to_json(worker)).value(), worker);
}

TEST(FrontendInstance, IsJsonWhateverItsMembersHold) {
  EXPECT_EQ(to_json(FrontendInstance{R"(http://[fe80::1%25"eth\0]:80)", "ns", "1"}),
            R"({"namespace":"ns","version":"1","url":"http://[fe80::1%25\"eth\\0]:80"})");
}

TEST(FrontendInstance, OneThatOthersDoNotReachHasNoUrl) {
  EXPECT_EQ(to_json(FrontendInstance{"", "ns", "1"}), R"({"namespace":"ns","version":"1"})");
}

}  // namespace
}  // namespace dynamo::discovery
