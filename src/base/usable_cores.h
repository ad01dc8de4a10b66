// How many threads are worth having: the cores that the scheduler lets this process use, and what its control group
// may use of them. More threads than a quota pays for only wait for each other when it is spent.
// Source: Linux, admin-guide/cgroup-v2 (cpu.max), scheduler/sched-bwc (cpu.cfs_quota_us), proc(5) and cgroups(7) for
// where a process's control group is mounted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

namespace dynamo {

// Cores that this process may use: at least 1. A quota of 1.5 cores counts as 2. Cost: reads a few files of /proc and
// /sys.
uint32_t usable_cores();

// Cores that the quotas of this process's control group and of all above it leave, the least of them; none: no quota.
// `root` is where /proc/self/cgroup, /proc/self/mountinfo and what is mounted are looked for: "/" but in tests.
std::optional<double> quota_cores(const std::filesystem::path& root);

// "50000 100000" is half a core, "max 100000" no quota (version 2).
std::optional<double> parse_cpu_max(std::string_view text);
// The same from cpu.cfs_quota_us, where -1 is no quota, and cpu.cfs_period_us (version 1).
std::optional<double> parse_cfs_quota(std::string_view quota, std::string_view period);

// What the two make together.
uint32_t usable_cores(uint32_t allowed, std::optional<double> quota);

}  // namespace dynamo
