#include "apps/engine_flags.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>

namespace dynamo::apps {
namespace {

constexpr const char* kDefaultModel = "SmolLM2-135M-Instruct.Q4_1.gguf";

}  // namespace

void declare_engine_flags(CLI::App* command, EngineFlags* flags) {
  const auto option = [&](const std::string& name, auto& value, const std::string& meaning) {
    return add_flag(command, name, value, meaning);
  };
  option("--model-path", flags->model_path,
         fmt::format("A .gguf file or a Hugging Face folder; by default {} in $DYNAMO_CACHE (~/.cache/dynamo)",
                     kDefaultModel));
  option("--served-model-name", flags->served_model_name,
         "The name clients ask for, which may hold a slash; by default the file's or folder's");
  option("--page-size", flags->worker.block_tokens, "Tokens per KV block; the same on every worker of a model")
      ->check(CLI::Range(1, 256));
  option("--kv-cache-mib", flags->kv_cache_mib,
         "KV cache per worker in MiB; 0: 256, or room for one context of at most 8,192 tokens if that is more")
      ->check(CLI::Range(0, 1 << 24));
  option("--context-length", flags->worker.context_length, "Prompt and answer together, in tokens; 0: the model's own")
      ->check(CLI::Range(0, 1 << 24));
  option("--max-batch-tokens", flags->worker.max_batch_tokens,
         "Tokens computed per engine step; 0: what suits the device, on a CPU 512")
      ->check(CLI::Range(0, 65536));
  option("--max-sequences", flags->worker.max_sequences,
         "Requests computed at once per worker; 0: what suits the device, on a CPU 64")
      ->check(CLI::Range(0, 4096));
  option("--max-queue", flags->worker.max_waiting, "Requests waiting per worker; more are refused with 503")
      ->check(CLI::Range(0, 1 << 20));
  option("--threads", flags->worker.backend.threads,
         "Threads per worker; 0: the usable cores, by affinity and the control groups' CPU quota, shared among a "
         "machine's workers where `serve` starts them")
      ->check(CLI::Range(0, 1024));
  command->add_option("--cpu", flags->cpu, "Kernels to use: auto, scalar, avx2 or avx512")
      ->envname("DYNAMO_CPU")
      ->check(CLI::IsMember({"auto", "scalar", "avx2", "avx512"}))
      ->capture_default_str();
}

Status complete(EngineFlags* flags) {
  flags->worker.kv_cache_bytes = flags->kv_cache_mib << 20;
  if (flags->cpu != "auto") flags->worker.backend.cpu_level = kernels::parse_cpu_level(flags->cpu);
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

std::vector<std::string> to_arguments(const EngineFlags& flags) {
  const EngineFlags defaults;
  std::vector<std::string> arguments;
  const auto add = [&](const char* name, const auto& value, const auto& usual) {
    if (value == usual) return;
    arguments.emplace_back(name);
    arguments.push_back(fmt::format("{}", value));
  };
  add("--model-path", flags.model_path, defaults.model_path);
  add("--served-model-name", flags.served_model_name, defaults.served_model_name);
  add("--page-size", flags.worker.block_tokens, defaults.worker.block_tokens);
  add("--kv-cache-mib", flags.kv_cache_mib, defaults.kv_cache_mib);
  add("--context-length", flags.worker.context_length, defaults.worker.context_length);
  add("--max-batch-tokens", flags.worker.max_batch_tokens, defaults.worker.max_batch_tokens);
  add("--max-sequences", flags.worker.max_sequences, defaults.worker.max_sequences);
  add("--max-queue", flags.worker.max_waiting, defaults.worker.max_waiting);
  add("--threads", flags.worker.backend.threads, defaults.worker.backend.threads);
  add("--cpu", flags.cpu, defaults.cpu);
  return arguments;
}

}  // namespace dynamo::apps
