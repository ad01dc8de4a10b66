#include "engine/model_runner.h"

#include "engine/sampler.h"

namespace dynamo::engine {
namespace {

class ModelRunner final : public StepRunner {
 public:
  explicit ModelRunner(model::Decoder* decoder) : decoder_(decoder) {}

  Result<std::vector<Result<DrawnToken>>> run(const StepInput& input) override {
    const size_t vocab = decoder_->config().vocab_size;
    batch_.paged = input.paged;
    batch_.tokens = input.tokens;
    batch_.logits_rows.clear();
    for (const SampleInput& sample : input.samples) batch_.logits_rows.push_back(sample.row);
    logits_.resize(input.samples.size() * vocab);
    decoder_->forward(batch_, logits_, input.gets_on);
    std::vector<Result<DrawnToken>> drawn;
    for (size_t i = 0; i < input.samples.size(); ++i)
      drawn.push_back(sampler_.draw(std::span(logits_).subspan(i * vocab, vocab), input.samples[i]));
    return drawn;
  }

 private:
  model::Decoder* decoder_;
  Sampler sampler_;
  model::StepBatch batch_;
  std::vector<float> logits_;
};

}  // namespace

std::unique_ptr<StepRunner> make_model_runner(model::Decoder* decoder) {
  return std::make_unique<ModelRunner>(decoder);
}

}  // namespace dynamo::engine
