// What every backend of KvTransport has to do. A backend's test takes all of it on:
//
//   INSTANTIATE_TEST_SUITE_P(Shm, Conformance, testing::Values(Backend{"shm", make_shm_transport}), name_of_backend);
//
// Ends are in this process, one thread driving all of them, or in children that are stopped and killed (testing/child_end.h).
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "transfer/testing/end.h"

namespace dynamo::transfer {

inline std::string name_of_backend(const testing::TestParamInfo<Backend>& info) {
  return info.param.name;
}

class Conformance : public testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    if (const Status status = GetParam().is_there(); !status.is_ok())
      GTEST_SKIP() << GetParam().name << " is not tested: " << status.to_string();
  }
};

}  // namespace dynamo::transfer
