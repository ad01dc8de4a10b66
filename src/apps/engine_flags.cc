#include "apps/engine_flags.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>

#include "kernels/backend_factory.h"

namespace dynamo::apps {
namespace {

using kernels::CpuLevel;

constexpr const char* kDefaultModel = "SmolLM2-135M-Instruct.Q4_1.gguf";

OptionValue cpu_level(std::optional<CpuLevel>* level) {
  const std::vector<CpuLevel> levels = {CpuLevel::kScalar, CpuLevel::kAvx2, CpuLevel::kAvx512};
  std::vector<std::string> choices = {"auto"};
  for (const CpuLevel level : levels) choices.emplace_back(kernels::cpu_level_name(level));
  const auto get = [=] {
    return *level ? static_cast<size_t>(std::ranges::find(levels, **level) - levels.begin()) + 1 : 0;
  };
  return one_of(std::move(choices), get,
                [=](size_t place) { *level = place == 0 ? std::nullopt : std::optional(levels[place - 1]); });
}

OptionValue device(kernels::BackendOptions* backend) {
  OptionValue out;
  out.kind = "{auto,cpu,cuda,cuda:N}";
  out.store = [=](const std::string& given) { return kernels::parse_device(given, backend); };
  out.stored = [=] { return std::vector{kernels::device_name(*backend)}; };
  return out;
}

}  // namespace

OptionSet options_of(EngineFlags* flags) {
  engine::EngineOptions& engine = flags->worker.engine;
  OptionSet options;
  options.add("--model-path", text(&flags->model_path),
              fmt::format("A .gguf file or a Hugging Face folder; by default {} in $DYNAMO_CACHE (~/.cache/dynamo)",
                          kDefaultModel));
  options.add("--served-model-name", text(&flags->served_model_name),
              "The name clients ask for, which may hold a slash; by default the file's or folder's");
  options
      .add("--page-size", number(&engine.block_tokens, 1U, kv::kMostBlockTokens),
           "Tokens per KV block; the same on every worker of a model")
      .called("block_tokens");
  options
      .add("--kv-cache-mib", mebibytes(&flags->worker.kv_cache_bytes, 0, 1 << 24),
           "KV cache per worker in MiB; 0: 256, or room for one context of at most 8,192 tokens if that is more")
      .called("kv_cache_bytes");
  options
      .add("--context-length", number(&engine.context_length, 0U, 1U << 24),
           "Prompt and answer together, in tokens; 0: the model's own")
      .called("context_length");
  options
      .add("--max-batch-tokens", number(&engine.max_batch_tokens, 0U, 65536U),
           "Tokens computed per engine step; 0: what suits the device, on a CPU 512")
      .called("max_batch_tokens");
  options
      .add("--max-sequences", number(&engine.max_sequences, 0U, 4096U),
           "Requests computed at once per worker; 0: what suits the device, on a CPU 64")
      .called("max_sequences");
  options.add("--max-queue", number(&engine.max_waiting, 0U, 1U << 20),
              "Requests waiting per worker; more are refused with 503");
  options.add("--device", device(&flags->worker.backend),
              "What computes: auto (an NVIDIA GPU where this program can use one, else the CPU), cpu, cuda (the first "
              "GPU of $CUDA_VISIBLE_DEVICES) or cuda:N");
  options.add("--threads", number(&flags->worker.backend.threads, 0U, 1024U),
              "Threads per worker; 0: the usable cores, by affinity and the control groups' CPU quota, shared among a "
              "machine's workers where `serve` starts them");
  options.add("--cpu", cpu_level(&flags->worker.backend.cpu_level), "Kernels to use: auto, scalar, avx2 or avx512")
      .from("DYNAMO_CPU");
  return options;
}

Status find_model(EngineFlags* flags) {
  if (!flags->model_path.empty()) return {};
  const char* cache = std::getenv("DYNAMO_CACHE");
  const char* home = std::getenv("HOME");
  flags->model_path =
      (cache ? std::string(cache) : std::string(home ? home : ".") + "/.cache/dynamo") + "/" + kDefaultModel;
  struct stat found{};
  if (stat(flags->model_path.c_str(), &found) == 0) return {};
  return not_found(fmt::format(
      "the default model is not at {}; scripts/fetch_model.sh puts it there, or name another with --model-path",
      flags->model_path));
}

}  // namespace dynamo::apps
