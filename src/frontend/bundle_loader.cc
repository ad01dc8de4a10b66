#include "frontend/bundle_loader.h"

#include <algorithm>

#include <boost/asio/this_coro.hpp>

#include "base/log.h"
#include "base/on_pool.h"
#include "base/timer.h"
#include "model_bundle/model_bundle.h"

namespace dynamo::frontend {
namespace {

namespace asio = boost::asio;

constexpr Duration kFirstTimeout = std::chrono::seconds(5);  // of a fetch; twice as long after each failure
constexpr Duration kLongestTimeout = std::chrono::seconds(30);
constexpr Duration kPause = std::chrono::seconds(1);  // after a failure

Task<Result<LoadedModel>> open(Result<std::string> bytes, std::string digest) {
  if (!bytes.is_ok()) co_return bytes.status();
  co_return open_bundle(*bytes, digest);
}

}  // namespace

Result<LoadedModel> open_bundle(std::string_view bytes, std::string_view digest) {
  TRY(model_bundle::Parts parts, model_bundle::from_bytes(bytes, digest));
  LoadedModel loaded;
  loaded.card = std::move(parts.card);
  TRY(loaded.tokenizer, text::Tokenizer::create(std::move(parts.tokenizer)));
  if (!parts.chat_template.empty()) {
    TRY(loaded.chat_template, text::ChatTemplate::compile(parts.chat_template));
  }
  return loaded;
}

void BundleLoader::load(ModelId model) {
  scope_->spawn([this, model] { return run(this, model); });
}

Task<void> BundleLoader::run(BundleLoader* self, ModelId model) {
  Timer pause(self->clock_, co_await asio::this_coro::executor);
  Duration timeout = kFirstTimeout;
  std::optional<ModelCatalog::Source> source = self->catalog_->source_of(model, 0);
  while (source) {
    auto bytes = co_await source->remote->fetch_model(source->digest, self->clock_->now() + timeout);
    auto opening = open(std::move(bytes), source->digest);
    auto loaded = co_await on_pool(&self->opener_, std::move(opening));
    if (loaded.is_ok()) {
      self->catalog_->set_loaded(model, std::move(loaded).value());
      co_return;
    }
    LOG(warn, "a model's description did not come", {"from", source->name}, {"why", loaded.status().to_string()});
    timeout = std::min(2 * timeout, kLongestTimeout);
    co_await pause.wait(self->clock_->now() + kPause);
    source = self->catalog_->source_of(model, source->instance);
  }
}

}  // namespace dynamo::frontend
