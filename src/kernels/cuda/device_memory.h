// Memory of a GPU and of the host beside it, owned; and what a failed call of the runtime says.
// Threads: values; one caller.
#pragma once

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "base/status.h"
#include "kernels/tensor.h"

namespace dynamo::kernels::cuda {

// Success, or kUnavailable with the runtime's words; kExhausted when memory is short.
inline Status status_of(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  std::string text = fmt::format("CUDA: {}: {} ({})", what, ::cudaGetErrorString(error), ::cudaGetErrorName(error));
  if (error == cudaErrorMemoryAllocation) return exhausted(std::move(text));
  return unavailable(std::move(text));
}

class DeviceBuffer final : public Buffer {
 public:
  // Errors: kExhausted, kUnavailable.
  static Result<std::unique_ptr<Buffer>> make(size_t bytes, int device) {
    void* data = nullptr;
    TRY_STATUS(status_of(::cudaMalloc(&data, bytes > 0 ? bytes : 1), "memory of the device"));
    std::unique_ptr<Buffer> made(new DeviceBuffer(data, bytes, device));
    TRY_STATUS(status_of(::cudaMemset(data, 0, bytes), "zeroing memory"));
    return made;
  }
  ~DeviceBuffer() override { ::cudaFree(memory().data); }

 private:
  DeviceBuffer(void* data, size_t bytes, int device)
      : Buffer({.data = static_cast<std::byte*>(data), .bytes = bytes, .kind = MemoryKind::kCuda, .device = device}) {}
};

// Host memory that the device copies from and to, or device memory; grows, never shrinks. What it held is lost then.
template <bool kHost>
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch(Scratch&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  ~Scratch() { release(); }

  // At least `bytes`, zeroed where it grew. Requires: nothing under way uses it, if it grows.
  // Errors: as DeviceBuffer::make.
  Status grow(size_t bytes) {
    if (bytes <= bytes_) return {};
    release();
    const size_t wanted = bytes + bytes / 2;
    const cudaError_t error =
        kHost ? ::cudaHostAlloc(&data_, wanted, cudaHostAllocDefault) : ::cudaMalloc(&data_, wanted);
    if (error != cudaSuccess) data_ = nullptr;
    TRY_STATUS(status_of(error, kHost ? "pinned memory" : "memory of the device"));
    bytes_ = wanted;
    if (kHost) {
      std::memset(data_, 0, wanted);
      return {};
    }
    return status_of(::cudaMemset(data_, 0, wanted), "zeroing memory");
  }
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void release() {
    if (data_ == nullptr) return;
    kHost ? ::cudaFreeHost(data_) : ::cudaFree(data_);
    data_ = nullptr;
    bytes_ = 0;
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace dynamo::kernels::cuda
