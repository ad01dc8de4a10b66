#include "model/testing/goldens.h"

#include <fstream>
#include <iterator>

#include <boost/json.hpp>

#include "base/check.h"

namespace dynamo::model::testing {
namespace {

namespace json = boost::json;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.is_open());
  return std::string(std::istreambuf_iterator<char>(file), {});
}

template <class T>
std::vector<T> list(const json::value& value) {
  return json::value_to<std::vector<T>>(value);
}

uint32_t number(const json::object& object, const char* key) {
  return object.at(key).to_number<uint32_t>();
}

RopeScaling scaling_of(const json::object& from) {
  return {.factor = from.at("factor").to_number<float>(),
          .low_frequency_factor = from.at("low_frequency_factor").to_number<float>(),
          .high_frequency_factor = from.at("high_frequency_factor").to_number<float>(),
          .original_context = number(from, "original_context")};
}

TinyModelSpec spec_of(const json::object& from) {
  TinyModelSpec spec;
  spec.family = find_family(&Family::name, from.at("architecture").as_string(), "architecture").value();
  spec.layers = number(from, "layers");
  spec.width = number(from, "width");
  spec.heads = number(from, "heads");
  spec.kv_heads = number(from, "kv_heads");
  spec.head_dim = number(from, "head_dim");
  spec.ffn_width = number(from, "ffn_width");
  spec.vocab_size = number(from, "vocab_size");
  spec.context_length = number(from, "context_length");
  spec.has_tied_embedding = from.at("tied").as_bool();
  spec.rope_base = from.at("rope_base").to_number<float>();
  if (const json::value* scaling = from.if_contains("rope_scaling"))
    spec.rope_scaling = scaling_of(scaling->as_object());
  spec.dtype = from.at("dtype").as_string() == "float32" ? kernels::DType::kF32 : kernels::DType::kBF16;
  return spec;
}

}  // namespace

std::vector<TinyGolden> read_tiny_goldens(const std::string& testdata) {
  const std::string bytes = read_file(testdata + "/tiny_goldens.f32");
  std::vector<float> all(bytes.size() / sizeof(float));
  std::memcpy(all.data(), bytes.data(), all.size() * sizeof(float));
  const json::value index = json::parse(read_file(testdata + "/tiny_goldens.json"));
  std::vector<TinyGolden> goldens;
  std::vector<size_t> offsets;
  for (const json::value& entry : index.as_array()) {
    const json::object& from = entry.as_object();
    TinyGolden golden;
    golden.name = from.at("name").as_string();
    if (const json::value* folder = from.if_contains("folder")) {
      golden.folder = testdata + "/" + std::string(folder->as_string());
    } else {
      golden.spec = spec_of(from);
    }
    if (const json::value* error = from.if_contains("bf16_error")) golden.bf16_error = error->as_double();
    golden.tokens = list<TokenId>(from.at("tokens"));
    golden.positions = list<uint32_t>(from.at("positions"));
    goldens.push_back(std::move(golden));
    offsets.push_back(from.at("offset").to_number<size_t>());
  }
  offsets.push_back(all.size());
  for (size_t i = 0; i < goldens.size(); ++i) {
    CHECK(offsets[i] <= offsets[i + 1] && offsets[i + 1] <= all.size());
    goldens[i].logits.assign(all.begin() + static_cast<ptrdiff_t>(offsets[i]),
                             all.begin() + static_cast<ptrdiff_t>(offsets[i + 1]));
  }
  return goldens;
}

SmolLm2Golden read_smollm2_golden(const std::string& testdata) {
  const json::value whole = json::parse(read_file(testdata + "/smollm2_golden.json"));
  const json::object& from = whole.as_object();
  SmolLm2Golden golden;
  golden.tokens = list<TokenId>(from.at("tokens"));
  golden.prompt = list<TokenId>(from.at("greedy").at("prompt"));
  golden.answer = list<TokenId>(from.at("greedy").at("answer"));
  for (const json::value& entry : from.at("positions").as_array()) {
    golden.positions.push_back({.position = number(entry.as_object(), "position"),
                                .log_sum_exp = entry.at("log_sum_exp").to_number<double>(),
                                .rms = entry.at("rms").to_number<double>(),
                                .tokens = list<TokenId>(entry.at("tokens")),
                                .logits = list<double>(entry.at("logits"))});
  }
  return golden;
}

}  // namespace dynamo::model::testing
