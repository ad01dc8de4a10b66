#include "discovery/testing/fake_registry.h"
#include "discovery/testing/registry_outage_contract.h"

namespace dynamo::discovery {
namespace {

struct FakeHarness {
  static std::string why_skipped() { return ""; }
  std::unique_ptr<Registry> make_registry() const { return std::make_unique<FakeRegistry>(store); }
  std::string address() const { return kFakeAddress; }
  void take_away() { store->take_away(); }
  void bring_back() { store->bring_back(); }
  void bring_back_empty() {
    store->expire_leases();
    store->bring_back();
  }
  void expire_leases() { store->expire_leases(); }

  std::shared_ptr<FakeStore> store = std::make_shared<FakeStore>();
};

INSTANTIATE_TYPED_TEST_SUITE_P(Fake, RegistryContract, FakeHarness);
INSTANTIATE_TYPED_TEST_SUITE_P(Fake, RegistryOutageContract, FakeHarness);

}  // namespace
}  // namespace dynamo::discovery
