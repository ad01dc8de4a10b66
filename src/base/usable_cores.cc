#include "base/usable_cores.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace dynamo {
namespace {

namespace fs = std::filesystem;

// What a file holds; empty where there is none.
std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::optional<double> ratio_of(std::string_view quota, std::string_view period) {
  const auto used = number_of(quota);
  const auto whole = number_of(period);
  return used && whole && *used > 0 && *whole > 0 ? std::optional(*used / *whole) : std::nullopt;
}

bool has_item(const std::string& list, std::string_view wanted) {
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');)
    if (item == wanted) return true;
  return false;
}

// A hierarchy as it is mounted here.
struct Mount {
  fs::path root;   // the control group that the mount shows
  fs::path point;  // where
  bool is_v2 = false;
};

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue": of control groups, those that
// limit CPU time.
std::vector<Mount> cpu_mounts(const std::string& mountinfo) {
  std::vector<Mount> mounts;
  std::istringstream in(mountinfo);
  for (std::string line; std::getline(in, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto before = words_of(line.substr(0, dash));
    const auto after = words_of(line.substr(dash + 3));
    if (before.size() < 5 || after.size() < 3) continue;
    const bool is_v2 = after[0] == "cgroup2";
    if (is_v2 || (after[0] == "cgroup" && has_item(after[2], "cpu"))) mounts.push_back({before[3], before[4], is_v2});
  }
  return mounts;
}

// "4:cpu,cpuacct:/docker/1a2b" (version 1), "0::/user.slice" (version 2).
std::optional<fs::path> group_in(const std::string& cgroup, bool is_v2) {
  std::istringstream in(cgroup);
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (is_v2 ? line.starts_with("0::") : has_item(controllers, "cpu")) return fs::path(line.substr(second + 1));
  }
  return std::nullopt;
}

std::optional<double> least(std::optional<double> one, std::optional<double> other) {
  if (!one || !other) return one ? one : other;
  return std::min(*one, *other);
}

std::optional<double> quota_of(const fs::path& folder, bool is_v2) {
  if (is_v2) return parse_cpu_max(text_of(folder / "cpu.max"));
  return parse_cfs_quota(text_of(folder / "cpu.cfs_quota_us"), text_of(folder / "cpu.cfs_period_us"));
}

}  // namespace

std::optional<double> parse_cpu_max(std::string_view text) {
  const auto words = words_of(std::string(text));
  return words.size() == 2 ? ratio_of(words[0], words[1]) : std::nullopt;
}

std::optional<double> parse_cfs_quota(std::string_view quota, std::string_view period) {
  const auto used = words_of(std::string(quota));
  const auto whole = words_of(std::string(period));
  return used.size() == 1 && whole.size() == 1 ? ratio_of(used[0], whole[0]) : std::nullopt;
}

std::optional<double> quota_cores(const fs::path& root) {
  const std::string cgroup = text_of(root / "proc/self/cgroup");
  std::optional<double> quota;
  for (const Mount& mount : cpu_mounts(text_of(root / "proc/self/mountinfo"))) {
    const auto group = group_in(cgroup, mount.is_v2);
    if (!group) continue;
    // A container without a namespace of its own for control groups sees its group's name from outside, and that group
    // mounted.
    const fs::path below = group->lexically_relative(mount.root);
    const bool is_below = !below.empty() && *below.begin() != "..";
    fs::path folder = is_below ? below : fs::path(".");
    const fs::path top = root / mount.point.relative_path();
    for (;; folder = folder.parent_path()) {
      quota = least(quota, quota_of(top / folder, mount.is_v2));
      if (folder.empty() || folder == ".") break;
    }
  }
  return quota;
}

uint32_t usable_cores(uint32_t allowed, std::optional<double> quota) {
  const double cores = quota ? std::min<double>(allowed, std::ceil(*quota)) : allowed;
  return std::max(1U, static_cast<uint32_t>(cores));
}

uint32_t usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool is_known = sched_getaffinity(0, sizeof(set), &set) == 0;
  return usable_cores(is_known ? static_cast<uint32_t>(CPU_COUNT(&set)) : std::thread::hardware_concurrency(),
                      quota_cores("/"));
}

}  // namespace dynamo
