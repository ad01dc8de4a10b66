#include "rpc/identity.h"

#include <fmt/format.h>

#include "wire/messages.pb.h"

namespace dynamo::rpc {

std::string hello_of(const Identity& identity) {
  wire::proto::Hello hello;
  hello.set_protocol(kProtocol);
  hello.set_name_space(identity.name_space);
  hello.set_version(identity.version);
  hello.set_instance(identity.instance);
  return hello.SerializeAsString();
}

Result<Identity> check_hello(std::string_view payload, const Identity& mine, uint64_t expected_instance) {
  wire::proto::Hello hello;
  if (!hello.ParseFromArray(payload.data(), static_cast<int>(payload.size())) || hello.protocol() == 0)
    return corrupt("the peer did not say hello: it is no dynamo process");
  if (hello.protocol() != kProtocol) {
    return unsupported(fmt::format("the peer, version {}, speaks protocol {}; this one, version {}, speaks {}",
                                   hello.version(), hello.protocol(), mine.version, kProtocol));
  }
  if (hello.name_space() != mine.name_space) {
    return invalid(fmt::format("the peer is in namespace '{}', this process in '{}' (DYN_NAMESPACE)",
                               hello.name_space(), mine.name_space));
  }
  if (expected_instance != 0 && hello.instance() != expected_instance) {
    return invalid(
        fmt::format("instance {:016x} answers where {:016x} was expected", hello.instance(), expected_instance));
  }
  return Identity{hello.name_space(), hello.version(), hello.instance()};
}

}  // namespace dynamo::rpc
