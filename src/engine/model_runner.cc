#include "engine/model_runner.h"

namespace dynamo::engine {
namespace {

class ModelRunner final : public StepRunner {
 public:
  explicit ModelRunner(model::Decoder* decoder)
      : decoder_(decoder), backend_(decoder->backend()), ops_([this](const kernels::StepView& step) {
          decoder_->forward(step);
          if (step.draws() > 0) backend_->sample(step, decoder_->logits(step.draws()));
        }) {}

  uint32_t depth() const override { return backend_->traits().depth; }
  Status begin(const kernels::Step& step) override {
    decoder_->check(step);
    return backend_->begin(step, ops_);
  }
  Result<std::vector<Result<DrawnToken>>> finish() override { return backend_->finish(); }

 private:
  model::Decoder* decoder_;
  kernels::Backend* backend_;
  const kernels::Backend::Ops ops_;
};

}  // namespace

std::unique_ptr<StepRunner> make_model_runner(model::Decoder* decoder) {
  return std::make_unique<ModelRunner>(decoder);
}

}  // namespace dynamo::engine
