#include "base/usable_cores.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace dynamo {
namespace {

namespace fs = std::filesystem;

TEST(UsableCores, AQuotaIsAShareOfItsPeriod) {
  EXPECT_EQ(parse_cpu_max("50000 100000\n"), 0.5);
  EXPECT_EQ(parse_cpu_max("250000 100000"), 2.5);
  EXPECT_EQ(parse_cpu_max("max 100000\n"), std::nullopt);
  EXPECT_EQ(parse_cfs_quota("150000\n", "100000\n"), 1.5);
  EXPECT_EQ(parse_cfs_quota("-1\n", "100000\n"), std::nullopt);
}

TEST(UsableCores, WhatIsNoQuotaIsNone) {
  for (const char* text :
       {"", "max", "100000", "x 100000", "1e5x 100000", "0 100000", "-5 100000", "100000 0", "1 2 3"})
    EXPECT_EQ(parse_cpu_max(text), std::nullopt) << text;
  EXPECT_EQ(parse_cfs_quota("", ""), std::nullopt);
  EXPECT_EQ(parse_cfs_quota("100000", ""), std::nullopt);
}

TEST(UsableCores, AQuotaIsRoundedUpAndNeverAboveTheAllowedCores) {
  EXPECT_EQ(usable_cores(8, std::nullopt), 8U);
  EXPECT_EQ(usable_cores(8, 0.5), 1U);
  EXPECT_EQ(usable_cores(8, 1.0), 1U);
  EXPECT_EQ(usable_cores(8, 1.5), 2U);
  EXPECT_EQ(usable_cores(8, 64.0), 8U);
  EXPECT_EQ(usable_cores(8, 1e300), 8U);
  EXPECT_EQ(usable_cores(0, std::nullopt), 1U);
}

// A machine's files, as far as they are looked at.
class QuotaFiles : public testing::Test {
 protected:
  QuotaFiles() : root_(fs::temp_directory_path() / ("usable_cores_test." + std::to_string(getpid()))) {}
  ~QuotaFiles() override { fs::remove_all(root_); }

  void put(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::optional<double> quota() const { return quota_cores(root_); }

  fs::path root_;
};

TEST_F(QuotaFiles, AMachineWithoutControlGroupsHasNone) {
  EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(QuotaFiles, OfVersion2TheLeastOfAGroupAndThoseAboveItCounts) {
  put("proc/self/cgroup", "0::/kubepods.slice/pod1/box\n");
  put("proc/self/mountinfo",
      "22 1 0:20 / / rw - ext4 /dev/root rw\n"
      "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  put("sys/fs/cgroup/kubepods.slice/pod1/box/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  put("sys/fs/cgroup/kubepods.slice/pod1/cpu.max", "300000 100000\n");
  put("sys/fs/cgroup/kubepods.slice/cpu.max", "800000 100000\n");
  EXPECT_EQ(quota(), 3.0);
  put("sys/fs/cgroup/kubepods.slice/pod1/box/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  put("sys/fs/cgroup/kubepods.slice/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(QuotaFiles, InANamespaceOfItsOwnTheMountIsTheGroup) {
  put("proc/self/cgroup", "0::/\n");
  put("proc/self/mountinfo", "30 22 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  put("sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2.0);
}

TEST_F(QuotaFiles, OfVersion1TheGroupIsFoundBelowWhatIsMounted) {
  put("proc/self/cgroup", "5:memory:/docker/1a2b\n4:cpu,cpuacct:/docker/1a2b/inner\n0::/elsewhere\n");
  put("proc/self/mountinfo",
      "31 22 0:27 /docker/1a2b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
      "32 22 0:28 /docker/1a2b /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");
  put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  put("sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us", "-1\n");
  put("sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 4.0);
  put("sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us", "25000\n");
  EXPECT_EQ(quota(), 0.25);
}

TEST_F(QuotaFiles, AGroupOutsideOfTheMountHasTheMountsQuota) {
  put("proc/self/cgroup", "0::/../other\n");
  put("proc/self/mountinfo", "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
  put("sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1.0);
}

TEST_F(QuotaFiles, WhereBothVersionsAreMountedTheLesserCounts) {
  put("proc/self/cgroup", "2:cpuacct:/\n1:cpu:/job\n0::/\n");
  put("proc/self/mountinfo",
      "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
      "33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
      "broken line\n");
  put("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000\n");
  put("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 1.5);
  put("sys/fs/cgroup/unified/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 0.5);
}

}  // namespace
}  // namespace dynamo
