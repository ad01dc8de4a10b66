// Which processes can share memory with this one.
// Threads: any.
#pragma once

#include <string>

namespace dynamo::transfer {

// The running kernel and the network namespace: what abstract unix sockets, by which ends find each other, are local to.
std::string this_host();

}  // namespace dynamo::transfer
