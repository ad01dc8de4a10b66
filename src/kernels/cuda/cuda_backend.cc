#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "base/check.h"
#include "kernels/cpu/half.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cuda_step.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch.h"

namespace dynamo::kernels {
namespace {

using namespace cuda;  // NOLINT: the backend is made of nothing else

constexpr uint32_t kDepth = 2;
constexpr size_t kStaging = size_t{8} << 20;  // bytes of a half of what brings weights over
constexpr uint32_t kLeastPart = 64;           // tokens of a cache that are worth a thread block
constexpr uint32_t kMostSplits = 64;
constexpr uint32_t kBlocksPerProcessor = 4;

Rows rows_of(const Tensor& tensor) {
  CHECK(tensor.buffer != nullptr && tensor.buffer->memory().kind == MemoryKind::kCuda);
  CHECK(tensor.rows == 0 ||
        tensor.offset + row_bytes(tensor.dtype, (tensor.rows - 1) * tensor.stride + tensor.columns) <=
            tensor.buffer->bytes());
  return {.data = tensor.data(),
          .dtype = tensor.dtype,
          .rows = static_cast<uint32_t>(tensor.rows),
          .columns = static_cast<uint32_t>(tensor.columns),
          .stride = tensor.stride};
}

// Of activations.
Rows numbers_of(const Tensor& tensor) {
  CHECK(tensor.dtype == DType::kBF16);
  return rows_of(tensor);
}

// Of a vector of `count` numbers; null if there is none.
const float* vector_of(const Tensor& tensor, size_t count) {
  if (!tensor) return nullptr;
  CHECK(tensor.rows == 1 && tensor.columns == count && tensor.dtype == DType::kF32);
  return static_cast<const float*>(rows_of(tensor).data);
}

KvRows kv_of(const KvView& kv) {
  CHECK(kv.buffer != nullptr && kv.head_dim <= kMostHeadDim);
  return {.base = kv.buffer->memory().data + kv.offset,
          .is_bf16 = kv.dtype == kv::KvDtype::kBF16,
          .block_stride = kv.block_stride,
          .value_offset = kv.value_offset,
          .kv_heads = kv.kv_heads,
          .head_dim = kv.head_dim,
          .block_tokens = kv.block_tokens};
}

// Rows of bf16, one after the other.
class CudaMatrix final : public Matrix {
 public:
  CudaMatrix(std::unique_ptr<Buffer> buffer, size_t rows, size_t columns)
      : Matrix(rows, columns, buffer->bytes()), buffer_(std::move(buffer)) {}
  Tensor tensor() const {
    return {.buffer = buffer_.get(),
            .offset = 0,
            .dtype = DType::kBF16,
            .rows = rows(),
            .columns = columns(),
            .stride = columns()};
  }

 private:
  std::unique_ptr<Buffer> buffer_;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(Traits traits, uint32_t processors, std::unique_ptr<CublasLt> blas)
      : traits_(std::move(traits)), processors_(processors), blas_(std::move(blas)), steps_(traits_.depth) {}

  ~CudaBackend() override {
    if (stream_ != nullptr) {
      ::cudaStreamSynchronize(stream_);
      ::cudaStreamDestroy(stream_);
    }
    for (CudaStep& step : steps_) step.close();
    for (const cudaEvent_t event : staged_) {
      if (event != nullptr) ::cudaEventDestroy(event);
    }
  }

  Status open() {
    TRY_STATUS(status_of(::cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream"));
    for (CudaStep& step : steps_) TRY_STATUS(step.open());
    for (cudaEvent_t& event : staged_) {
      TRY_STATUS(status_of(::cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event"));
    }
    TRY_STATUS(seats_memory_.grow(kMaxSeats * (1 + size_t{traits_.depth}) * sizeof(uint32_t)));
    seats_.last = reinterpret_cast<uint32_t*>(seats_memory_.data());
    seats_.recent = seats_.last + kMaxSeats;
    seats_.depth = traits_.depth;
    return {};
  }

  const Traits& traits() const override { return traits_; }

  std::optional<uint64_t> free_bytes() const override {
    use_device();
    size_t free = 0;
    size_t total = 0;
    return ::cudaMemGetInfo(&free, &total) == cudaSuccess ? free : 0;
  }

  Result<std::unique_ptr<Buffer>> allocate(size_t bytes, Sharing) override {
    use_device();
    return DeviceBuffer::make(bytes, traits_.device);
  }

  Result<std::unique_ptr<Matrix>> pack(std::span<const MatrixSource> sources) override {
    size_t rows = 0;
    for (const MatrixSource& source : sources) {
      CHECK(source.columns == sources[0].columns);
      rows += source.rows;
    }
    const size_t columns = sources[0].columns;
    TRY(auto buffer, DeviceBuffer::make(rows * row_bytes(DType::kBF16, columns), traits_.device));
    auto matrix = std::make_unique<CudaMatrix>(std::move(buffer), rows, columns);
    Tensor to = matrix->tensor();
    for (const MatrixSource& source : sources) {
      TRY_STATUS(upload(source, to.first(source.rows)));
      to.offset += source.rows * row_bytes(DType::kBF16, columns);
      to.rows -= source.rows;
    }
    return std::unique_ptr<Matrix>(std::move(matrix));
  }

  // As many rows at a time as a half of the staging memory holds, while the other half is on its way.
  Status upload(const MatrixSource& from, Tensor to) override {
    CHECK(to.rows == from.rows && to.columns == from.columns);
    CHECK(to.dtype == DType::kF32 || to.dtype == DType::kBF16);
    use_device();
    const size_t of_row = row_bytes(from.dtype, from.columns);
    const size_t at_once = std::max<size_t>(1, kStaging / std::max<size_t>(1, of_row));
    for (size_t first = 0; first < from.rows; first += at_once) {
      const size_t rows = std::min(at_once, from.rows - first);
      const size_t half = next_half_++ % staged_.size();
      // Growing frees what the other steps of an upload may still read.
      if (rows * of_row > host_staging_[half].bytes()) TRY_STATUS(synchronize());
      TRY_STATUS(host_staging_[half].grow(rows * of_row));
      TRY_STATUS(device_staging_[half].grow(rows * of_row));
      TRY_STATUS(status_of(::cudaEventSynchronize(staged_[half]), "uploading"));
      std::memcpy(host_staging_[half].data(), from.data + first * of_row, rows * of_row);
      TRY_STATUS(status_of(::cudaMemcpyAsync(device_staging_[half].data(), host_staging_[half].data(), rows * of_row,
                                             cudaMemcpyHostToDevice, stream_),
                           "uploading"));
      Tensor part = to.first(first + rows);
      part.offset += row_bytes(to.dtype, first * to.stride);
      part.rows = rows;
      convert_rows(device_staging_[half].data(), from.dtype, rows_of(part), stream_);
      TRY_STATUS(status_of(::cudaEventRecord(staged_[half], stream_), "uploading"));
    }
    return status_of(::cudaGetLastError(), "uploading");
  }

  Status read(Tensor x, std::span<float> out) override {
    CHECK(out.size() == x.rows * x.columns && (x.dtype == DType::kF32 || x.dtype == DType::kBF16));
    TRY_STATUS(synchronize());
    if (out.empty()) return {};
    const Rows rows = rows_of(x);
    const size_t width = row_bytes(x.dtype, x.columns);
    std::vector<std::byte> bytes(x.rows * width);
    TRY_STATUS(status_of(::cudaMemcpy2D(bytes.data(), width, rows.data, row_bytes(x.dtype, x.stride), width, x.rows,
                                        cudaMemcpyDeviceToHost),
                         "reading"));
    if (x.dtype == DType::kF32) {
      std::memcpy(out.data(), bytes.data(), bytes.size());
      return {};
    }
    for (size_t i = 0; i < out.size(); ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + 2 * i, sizeof(bits));
      out[i] = bf16_to_float(bits);
    }
    return {};
  }

  Status begin(const Step& step, const Ops& ops) override {
    CHECK(under_way_.size() < traits_.depth);
    use_device();
    CudaStep& slot = steps_[next_++ % steps_.size()];
    TRY_STATUS(slot.put(step, stream_));
    current_ = &slot;
    failure_ = Status();
    ops(slot);
    current_ = nullptr;
    TRY_STATUS(std::exchange(failure_, Status()));
    TRY_STATUS(status_of(::cudaGetLastError(), "a step"));
    TRY_STATUS(slot.end(stream_));
    under_way_.push_back(&slot);
    return {};
  }

  Result<std::vector<Result<DrawnToken>>> finish() override {
    CHECK(!under_way_.empty());
    CudaStep* slot = under_way_.front();
    under_way_.pop_front();
    return slot->wait();
  }

  void embed(const Matrix& table, const StepView& view, Tensor out) override {
    CHECK(out.rows == view.rows() && out.columns == table.columns());
    cuda::embed(rows_of(static_cast<const CudaMatrix&>(table).tensor()), of(view).tables(), seats_, numbers_of(out),
                stream_);
  }

  void rms_norm(Tensor x, Tensor weight, float epsilon, Tensor out) override {
    CHECK(x.rows == out.rows && x.columns == out.columns);
    cuda::rms_norm(numbers_of(x), vector_of(weight, x.columns), epsilon, numbers_of(out), stream_);
  }

  void add_rms_norm(Tensor delta, Tensor residual, Tensor weight, float epsilon, Tensor out) override {
    CHECK(delta.rows == residual.rows && delta.columns == residual.columns && residual.rows == out.rows &&
          residual.columns == out.columns);
    cuda::add_rms_norm(numbers_of(delta), numbers_of(residual), vector_of(weight, out.columns), epsilon,
                       numbers_of(out), stream_);
  }

  void matmul(Tensor x, const Matrix& w, Tensor bias, Tensor out) override {
    CHECK(x.columns == w.columns() && out.columns == w.rows() && out.rows == x.rows);
    const Rows from = numbers_of(x);
    const Rows weights = rows_of(static_cast<const CudaMatrix&>(w).tensor());
    const Rows to = rows_of(out);
    const float* add = vector_of(bias, w.rows());
    if (can_be_skinny(from, weights)) return skinny_matmul(from, weights, add, to, stream_);
    keep(blas_->matmul(from, weights, to, stream_));
    if (add != nullptr) add_bias(to, add, stream_);
  }

  void rope_append(const StepView& view, const RopeAppendArgs& args) override {
    const Tensor& cosines = args.rope.cosines;
    const Tensor& sines = args.rope.sines;
    CHECK(args.qkv.rows == view.rows());
    CHECK(args.qkv.columns == (args.heads + 2 * size_t{args.kv.kv_heads}) * args.kv.head_dim);
    CHECK(args.kv.dtype == traits_.kv && cosines.columns == args.kv.head_dim / 2 && of(view).longest() <= cosines.rows);
    CHECK(sines.columns == cosines.columns && sines.stride == cosines.stride);
    cuda::rope_append(of(view).tables(),
                      {.qkv = numbers_of(args.qkv),
                       .heads = args.heads,
                       .q_norm = vector_of(args.q_norm, args.kv.head_dim),
                       .k_norm = vector_of(args.k_norm, args.kv.head_dim),
                       .norm_epsilon = args.norm_epsilon,
                       .cosines = static_cast<const float*>(rows_of(cosines).data),
                       .sines = static_cast<const float*>(rows_of(sines).data),
                       .table_stride = cosines.stride,
                       .kv = kv_of(args.kv)},
                      stream_);
  }

  void attention(const StepView& view, const AttentionArgs& args) override {
    const CudaStep& step = of(view);
    CHECK(args.heads % args.kv.kv_heads == 0 && args.q.rows == step.rows() && args.out.rows == args.q.rows);
    CHECK(args.q.columns == size_t{args.heads} * args.kv.head_dim && args.out.columns == args.q.columns);
    CHECK(args.kv.dtype == traits_.kv);
    const Attention attention{
        .q = numbers_of(args.q), .heads = args.heads, .kv = kv_of(args.kv), .out = numbers_of(args.out)};
    const StepTables& tables = step.tables();
    if (!can_attend_tiles(attention)) {
      attend_rows(tables, attention, {.rows = nullptr, .count = step.rows()}, step.longest());
      return;
    }
    if (tables.tile_count > 0) attend_tiles(tables, attention, stream_);
    if (tables.single_count > 0) {
      attend_rows(tables, attention, {.rows = tables.single_rows, .count = tables.single_count}, step.longest_single());
    }
  }

  void silu_mul(Tensor gate_up, Tensor out) override {
    CHECK(gate_up.rows == out.rows && gate_up.columns == 2 * out.columns);
    cuda::silu_mul(numbers_of(gate_up), numbers_of(out), stream_);
  }

  void gather_drawn(const StepView& view, Tensor x, Tensor out) override {
    CHECK(x.rows == view.rows() && out.rows == view.draws() && out.columns == x.columns);
    cuda::gather(of(view).tables(), numbers_of(x), numbers_of(out), stream_);
  }

  void sample(const StepView& view, Tensor logits) override {
    CHECK(logits.rows == view.draws() && logits.dtype == DType::kF32);
    CudaStep& step = of(view);
    StepTables tables = step.tables();
    keep(counts_.grow(size_t{step.penalized()} * logits.columns * sizeof(uint32_t)));
    tables.counts = reinterpret_cast<uint32_t*>(counts_.data());
    cuda::sample(tables, seats_, rows_of(logits), step.device_results(), stream_);
    step.set_sampled();
  }

 private:
  // The runtime's choice is the calling thread's, and threads may change between calls.
  void use_device() const { ::cudaSetDevice(traits_.device); }
  CudaStep& of(const StepView& view) const {
    CHECK(&view == current_);
    return *current_;
  }
  // Few rows leave most of the device idle unless several blocks share a row's cache, of up to `longest` tokens.
  void attend_rows(const StepTables& tables, const Attention& attention, RowList list, uint32_t longest) {
    const uint32_t wanted = kBlocksPerProcessor * processors_ / std::max(1U, list.count * attention.kv.kv_heads);
    list.splits = std::clamp(std::min(wanted, longest / kLeastPart), 1U, kMostSplits);
    if (list.splits > 1) {
      keep(partial_.grow(size_t{list.count} * attention.heads * list.splits * (attention.kv.head_dim + 2) *
                         sizeof(float)));
    }
    list.partial = reinterpret_cast<float*>(partial_.data());
    cuda::attend_rows(tables, attention, list, stream_);
  }
  // Operations have no result: what fails in one fails the step.
  void keep(Status status) {
    if (failure_.is_ok()) failure_ = std::move(status);
  }
  Status synchronize() { return status_of(::cudaStreamSynchronize(stream_), "waiting"); }

  const Traits traits_;
  const uint32_t processors_;
  std::unique_ptr<CublasLt> blas_;
  cudaStream_t stream_ = nullptr;
  std::vector<CudaStep> steps_;
  size_t next_ = 0;
  std::deque<CudaStep*> under_way_;
  CudaStep* current_ = nullptr;  // during begin()
  Status failure_;               // of the step that begins
  Scratch<false> seats_memory_;
  Seats seats_;
  Scratch<false> counts_;   // zero between steps
  Scratch<false> partial_;  // of attention
  std::array<Scratch<true>, 2> host_staging_;
  std::array<Scratch<false>, 2> device_staging_;
  std::array<cudaEvent_t, 2> staged_ = {};
  size_t next_half_ = 0;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_cuda_backend(const BackendOptions& options) {
  int count = 0;
  const cudaError_t found = ::cudaGetDeviceCount(&count);
  if (found == cudaErrorInsufficientDriver) {
    int driver = 0;
    ::cudaDriverGetVersion(&driver);
    return unavailable(fmt::format("the NVIDIA driver is too old: it knows CUDA {}.{}; {}.{} is needed (driver 580)",
                                   driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                                   CUDART_VERSION % 1000 / 10));
  }
  if (found == cudaErrorNoDevice || (found == cudaSuccess && count == 0)) {
    return unsupported("no NVIDIA GPU is visible here (CUDA_VISIBLE_DEVICES, nvidia-smi)");
  }
  TRY_STATUS(status_of(found, "looking for GPUs"));
  if (options.gpu < 0 || options.gpu >= count) {
    return unsupported(fmt::format("GPU {}: {} are visible, counted from 0", options.gpu, count));
  }
  const kv::KvDtype kv = options.kv.value_or(kv::KvDtype::kBF16);
  if (kv == kv::KvDtype::kF32) return unsupported("a KV cache of F32 on a GPU: it can be BF16 or F16");
  TRY_STATUS(status_of(::cudaSetDevice(options.gpu), "choosing the GPU"));
  cudaDeviceProp properties = {};
  TRY_STATUS(status_of(::cudaGetDeviceProperties(&properties, options.gpu), "asking the GPU"));
  if (!kernels_fit()) {
    return unavailable(fmt::format("{} has compute capability {}.{}, which this program was not built for",
                                   properties.name, properties.major, properties.minor));
  }
  TRY(auto blas, CublasLt::open(options.cuda_folders));
  Traits traits{
      .name = fmt::format("cuda:{}, {}", options.gpu, properties.name),
      .activations = DType::kBF16,
      .kv = kv,
      .memory = MemoryKind::kCuda,
      .device = options.gpu,
      .depth = options.depth > 0 ? options.depth : kDepth,
      .is_batch_invariant = false,
      .max_batch_tokens = 8192,
      .max_sequences = 256,
  };
  auto made = std::make_unique<CudaBackend>(std::move(traits), static_cast<uint32_t>(properties.multiProcessorCount),
                                            std::move(blas));
  TRY_STATUS(made->open());
  return std::unique_ptr<Backend>(std::move(made));
}

}  // namespace dynamo::kernels
