#include "base/check.h"
#include "discovery/etcd/etcd_registry.h"
#include "discovery/testing/etcd_process.h"
#include "discovery/testing/registry_outage_contract.h"

// gRPC and what it uses are not built for ThreadSanitizer, which does not see how their threads wait for each other, nor for ours that
// read what they received.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:libgrpc.so\nrace:libgrpc++.so\nrace:libgpr.so\nrace:libabsl_\nrace:libssl.so\nrace:libcrypto.so\n"
         "race:google::protobuf::internal::\nrace:grpc::internal::\n";
}

namespace dynamo::discovery {
namespace {

struct EtcdHarness {
  static std::string why_skipped() { return EtcdProcess::program().empty() ? "etcd is not installed" : ""; }
  std::unique_ptr<Registry> make_registry() const {
    auto registry = EtcdRegistry::connect(etcd_options_from(server->endpoint()).value(), soon());
    CHECK_OK(registry);
    return std::move(registry).value();
  }
  std::string address() const { return server->endpoint(); }
  void take_away() { server->kill(); }
  void bring_back() { EXPECT_TRUE(server->restart().is_ok()); }
  void bring_back_empty() {
    server->forget();
    bring_back();
  }
  void expire_leases() {}

  std::unique_ptr<EtcdProcess> server = EtcdProcess::start();
};

INSTANTIATE_TYPED_TEST_SUITE_P(Etcd, RegistryContract, EtcdHarness);
INSTANTIATE_TYPED_TEST_SUITE_P(Etcd, RegistryOutageContract, EtcdHarness);

}  // namespace
}  // namespace dynamo::discovery
