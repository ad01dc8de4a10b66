#include "kernels/backend_factory.h"

#include <fmt/format.h>

#include <charconv>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"

namespace dynamo::kernels {

Status parse_device(std::string_view name, BackendOptions* options) {
  options->gpu = 0;
  if (name == "auto" || name == "cpu" || name == "cuda") {
    options->device = name == "auto" ? Device::kAuto : name == "cpu" ? Device::kCpu : Device::kCuda;
    return {};
  }
  const std::string_view digits = name.starts_with("cuda:") ? name.substr(5) : std::string_view();
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), options->gpu);
  if (error != std::errc() || end != digits.data() + digits.size() || options->gpu < 0) {
    return invalid(fmt::format("{}: a device is auto, cpu, cuda or cuda:N, with N counted from 0", name));
  }
  options->device = Device::kCuda;
  return {};
}

std::string device_name(const BackendOptions& options) {
  switch (options.device) {
    case Device::kAuto:
      return "auto";
    case Device::kCpu:
      return "cpu";
    case Device::kCuda:
      return fmt::format("cuda:{}", options.gpu);
  }
  return "";
}

Result<std::unique_ptr<Backend>> make_backend(const BackendOptions& options) {
  if (options.device == Device::kCpu) return make_cpu_backend(options);
  auto made = make_cuda_backend(options);
  if (options.device == Device::kAuto && made.status().code() == Code::kUnsupported) return make_cpu_backend(options);
  return made;
}

}  // namespace dynamo::kernels
