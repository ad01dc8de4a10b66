#include "transfer/kv_transport.h"

namespace dynamo::transfer {

Result<std::unique_ptr<KvTransport>> make_nixl_transport(TransportOptions) {
  return unsupported("this version has no backend nixl yet; auto, shm and tcp are there");
}

}  // namespace dynamo::transfer
