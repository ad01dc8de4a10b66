// The backend "nixl" with NIXL itself, held to the contract of every backend. Without the library its tests are skipped, saying where
// they looked.
#include "transfer/nixl/testing/real_library.h"
#include "transfer/testing/conformance.h"

namespace dynamo::transfer {
namespace {

const Backend kNixl{
    .name = "nixl",
    .make = [](TransportOptions options) -> Result<std::unique_ptr<KvTransport>> {
      TRY(options.nixl.file, nixl::real_library());
      return make_nixl_transport(std::move(options));
    },
    .is_there = [] { return nixl::real_library().status(); },
};

INSTANTIATE_TEST_SUITE_P(Nixl, Conformance, testing::Values(kNixl), name_of_backend);

}  // namespace
}  // namespace dynamo::transfer
