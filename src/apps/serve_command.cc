// dynamo serve: frontend, router and engine workers in one process.
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "apps/command.h"
#include "apps/progress.h"
#include "base/io_threads.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/server.h"
#include "openai/service.h"
#include "router/router.h"
#include "worker/model_worker.h"

namespace dynamo::apps {
namespace {

constexpr const char* kDefaultModel = "SmolLM2-135M-Instruct.Q4_1.gguf";

struct ServeFlags {
  std::string model_path;
  std::string served_model_name;
  http::ServerOptions http;
  uint32_t http_threads = 2;
  openai::ServiceOptions service;
  uint32_t body_limit_mib = 45;
  uint32_t request_timeout = 600;
  uint32_t workers = 1;
  std::string router_mode = "round-robin";
  worker::WorkerOptions worker;
  uint64_t kv_cache_mib = 0;
  std::string cpu = "auto";
  uint32_t drain_timeout = 30;
};

void declare_flags(CLI::App* command, ServeFlags* flags) {
  const auto option = [&](const std::string& name, auto& value, const std::string& meaning) {
    std::string variable = "DYN" + name.substr(1);  // --http-port is also DYN_HTTP_PORT
    for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return command->add_option(name, value, meaning)->envname(variable)->capture_default_str();
  };
  option("--model-path", flags->model_path,
         fmt::format("A .gguf file or a Hugging Face folder; by default {} in $DYNAMO_CACHE (~/.cache/dynamo)",
                     kDefaultModel));
  option("--served-model-name", flags->served_model_name,
         "The name clients ask for; by default the file's or folder's");
  option("--http-host", flags->http.host, "Address to listen on");
  option("--http-port", flags->http.port, "Port to listen on; 0 takes any free one")->check(CLI::Range(0, 65535));
  option("--http-threads", flags->http_threads, "Threads for connections")->check(CLI::Range(1, 256));
  option("--http-body-limit", flags->body_limit_mib, "Largest request body in MiB")->check(CLI::Range(1, 4096));
  option("--request-timeout", flags->request_timeout, "Seconds a request may take in all")->check(CLI::Range(1, 86400));
  option("--workers", flags->workers, "Engines to run, each with its own copy of the weights")
      ->check(CLI::Range(1, 64));
  option("--router-mode", flags->router_mode, "How a worker is chosen: round-robin or random")
      ->check(CLI::IsMember({"round-robin", "random"}));
  option("--page-size", flags->worker.block_tokens, "Tokens per KV block")->check(CLI::Range(1, 256));
  option("--kv-cache-mib", flags->kv_cache_mib,
         "KV cache per worker in MiB; 0: 256, or room for one context of at most 8,192 tokens if that is more")
      ->check(CLI::Range(0, 1 << 24));
  option("--context-length", flags->worker.context_length, "Prompt and answer together, in tokens; 0: the model's own")
      ->check(CLI::Range(0, 1 << 24));
  option("--max-batch-tokens", flags->worker.max_batch_tokens, "Tokens computed per engine step")
      ->check(CLI::Range(1, 65536));
  option("--max-sequences", flags->worker.max_sequences, "Requests computed at once per worker")
      ->check(CLI::Range(1, 4096));
  option("--max-queue", flags->worker.max_waiting, "Requests waiting per worker; more are refused with 503")
      ->check(CLI::Range(0, 1 << 20));
  option("--threads", flags->worker.cpu.threads, "Threads per worker; 0: the usable cores, shared among the workers")
      ->check(CLI::Range(0, 1024));
  command->add_option("--cpu", flags->cpu, "Kernels to use: auto, scalar, avx2 or avx512")
      ->envname("DYNAMO_CPU")
      ->check(CLI::IsMember({"auto", "scalar", "avx2", "avx512"}))
      ->capture_default_str();
  option("--drain-timeout", flags->drain_timeout, "Seconds that running requests get to finish after SIGINT or SIGTERM")
      ->check(CLI::Range(0, 86400));
}

// What the command line does not say in the form the modules take.
Status complete(ServeFlags* flags) {
  flags->http.max_body_bytes = uint64_t{flags->body_limit_mib} << 20;
  flags->http.error_body = openai::error_response;
  flags->service.request_timeout = std::chrono::seconds(flags->request_timeout);
  flags->worker.kv_cache_bytes = flags->kv_cache_mib << 20;
  if (flags->cpu != "auto") flags->worker.cpu.level = kernels::parse_cpu_level(flags->cpu);
  if (flags->worker.cpu.threads == 0 && flags->workers > 1) {
    const auto cores = static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
    flags->worker.cpu.threads = std::max(1U, cores / flags->workers);
  }
  if (!flags->model_path.empty()) return {};
  const char* cache = std::getenv("DYNAMO_CACHE");
  const char* home = std::getenv("HOME");
  flags->model_path =
      (cache ? std::string(cache) : std::string(home ? home : ".") + "/.cache/dynamo") + "/" + kDefaultModel;
  struct stat found{};
  if (stat(flags->model_path.c_str(), &found) != 0) {
    return not_found(fmt::format(
        "the default model is not at {}; scripts/fetch_model.sh puts it there, or name another with --model-path",
        flags->model_path));
  }
  return {};
}

class OneModel final : public openai::ModelDirectory {
 public:
  explicit OneModel(std::shared_ptr<const openai::ServedModel> model) : model_(std::move(model)) {}
  std::shared_ptr<const openai::ServedModel> find(std::string_view name) const override {
    return name == model_->card.name ? model_ : nullptr;
  }
  std::vector<std::shared_ptr<const openai::ServedModel>> list() const override { return {model_}; }

 private:
  std::shared_ptr<const openai::ServedModel> model_;
};

// SIGINT and SIGTERM, taken one by one by the main thread; every other thread has them blocked.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  int wait() const {
    int signal = 0;
    sigwait(&signals_, &signal);
    return signal;
  }
  // A signal has come that nobody has taken.
  bool is_pending() const {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
  }
  // From now on a signal ends the program at once.
  void release() const {
    struct sigaction at_once{};
    at_once.sa_handler = [](int signal) { _exit(128 + signal); };
    sigaction(SIGINT, &at_once, nullptr);
    sigaction(SIGTERM, &at_once, nullptr);
    pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  }

 private:
  sigset_t signals_{};
};

using Workers = std::vector<std::unique_ptr<worker::ModelWorker>>;

Result<Workers> start_workers(const ServeFlags& flags, const worker::ModelFiles& files, const StopSignals& signals,
                              Metrics* metrics) {
  Workers workers;
  Progress progress("loading " + files.card.name);
  for (uint32_t i = 0; i < flags.workers; ++i) {
    worker::WorkerOptions options = flags.worker;
    options.name = fmt::format("worker-{}", i + 1);
    const auto show = [&](double done) {
      if (signals.is_pending()) {
        LOG(info, "stopped while loading");
        std::_Exit(0);  // nothing is served yet, so nothing has to end in order
      }
      progress.update((i + done) / flags.workers);
    };
    TRY(auto started, worker::ModelWorker::start(files, options, metrics, /*events=*/nullptr, show));
    LOG(info, "worker ready", {"worker", options.name}, {"with", started->description()});
    workers.push_back(std::move(started));
  }
  return workers;
}

std::shared_ptr<const openai::ServedModel> serve_model(const ServeFlags& flags, const worker::ModelFiles& files,
                                                       const Workers& workers, Metrics* metrics) {
  router::RouterOptions options;
  options.mode = *router::parse_mode(flags.router_mode);
  options.block_tokens = flags.worker.block_tokens;
  options.uses_events = false;
  auto router = std::make_shared<router::Router>(options, router::RouterHooks{}, metrics, files.card.name);
  for (size_t i = 0; i < workers.size(); ++i) {
    router::RoutedWorker routed;
    routed.instance = i + 1;
    routed.name = fmt::format("worker-{}", i + 1);
    routed.generator = workers[i]->generator();
    router->add_worker(std::move(routed));
  }
  auto served = std::make_shared<openai::ServedModel>();
  served->card = files.card;
  served->card.context_length = workers.front()->context_length();
  served->card.block_tokens = flags.worker.block_tokens;
  served->created = std::time(nullptr);
  served->tokenizer = files.tokenizer;
  served->chat_template = files.chat_template;
  served->generator = std::move(router);
  return served;
}

boost::json::object health_of(const Workers& workers) {
  boost::json::array instances;
  for (size_t i = 0; i < workers.size(); ++i) {
    const engine::EngineLoad load = workers[i]->load();
    instances.push_back(boost::json::object{{"worker", fmt::format("worker-{}", i + 1)},
                                            {"state", "ready"},
                                            {"running", load.running},
                                            {"waiting", load.waiting},
                                            {"used_blocks", load.used_blocks},
                                            {"cached_blocks", load.cached_blocks},
                                            {"total_blocks", load.total_blocks}});
  }
  return {{"instances", std::move(instances)}};
}

std::string url_of(const http::ServerOptions& options, uint16_t port) {
  const bool is_any = options.host == "0.0.0.0" || options.host == "::";
  const std::string host = is_any ? "127.0.0.1" : options.host;
  return host.find(':') == std::string::npos ? fmt::format("http://{}:{}", host, port)
                                             : fmt::format("http://[{}]:{}", host, port);
}

Status serve(ServeFlags flags) {
  TRY_STATUS(complete(&flags));
  const StopSignals signals;  // before any thread starts
  Metrics metrics;
  IoThreads io(flags.http_threads);
  TRY(auto server,
      http::Server::listen(flags.http, &io));  // first, so that a taken port is known before the model is loaded
  std::atomic<bool> is_ready = false;
  Workers workers;
  const auto stop_all = [&] {
    server->stop(Clock::steady().now());
    for (const auto& worker : workers) worker->stop(Clock::steady().now());
  };
  auto files = worker::open_model_files(flags.model_path, flags.served_model_name);
  if (!files.is_ok()) {
    stop_all();
    return files.status();
  }
  auto started = start_workers(flags, *files, signals, &metrics);
  if (!started.is_ok()) {
    stop_all();
    return started.status();
  }
  workers = std::move(started).value();
  files->source.reset();  // the weights are packed; let the file's pages go
  const OneModel directory(serve_model(flags, *files, workers, &metrics));
  openai::ServiceState state;
  state.is_ready = [&] { return is_ready.load(); };
  state.health = [&] { return health_of(workers); };
  openai::Service service(flags.service, &directory, std::move(state), &metrics);
  service.add_routes(server.get());
  server->start();
  is_ready = true;
  LOG(info, "serving", {"model", files->card.name}, {"url", url_of(flags.http, server->port())});

  const int signal = signals.wait();
  signals.release();
  is_ready = false;
  const Time until = Clock::steady().now() + std::chrono::seconds(flags.drain_timeout);
  LOG(info, "stopping: running requests may finish", {"signal", signal},
      {"within", fmt::format("{} s", flags.drain_timeout)});
  server->stop(until);
  for (const auto& worker : workers) worker->stop(Clock::steady().now());
  LOG(info, "stopped");
  return {};
}

}  // namespace

void add_serve_command(CLI::App* app, Run* run) {
  CLI::App* command =
      app->add_subcommand("serve", "Serve a model on this machine: frontend, router and workers in one process");
  auto flags = std::make_shared<ServeFlags>();
  declare_flags(command, flags.get());
  command->callback([=] {
    *run = [=] {
      const Status status = serve(*flags);
      if (status.is_ok()) return 0;
      std::fprintf(stderr, "dynamo serve: %s\n", status.to_string().c_str());
      return kFailed;
    };
  });
}

}  // namespace dynamo::apps
