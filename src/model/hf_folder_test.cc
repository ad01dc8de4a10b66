#include "model/hf_folder.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/model_summary.h"
#include "model/special_tokens.h"
#include "model/testing/safetensors_writer.h"
#include "model/testing/tensor_bytes.h"
#include "model/testing/tiny_model.h"
#include "model/testing/tiny_tensors.h"
#include "model/weight_table.h"

namespace dynamo::model {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::TinyModelSpec;
using testing::write_file;

class HfFolderTest : public ::testing::Test {
 protected:
  // A tiny model in folder_ / "model".
  void write(const TinyModelSpec& spec = {}) {
    const Status status = write_tiny_hf_folder(spec, path());
    ASSERT_TRUE(status.is_ok()) << status.to_string();
  }
  void replace(const std::string& name, std::string_view bytes) {
    ASSERT_TRUE(write_file(path() + "/" + name, bytes).is_ok());
  }
  std::string path() const { return folder_ / "model"; }
  std::string failure() const {
    const auto model = open_model(path());
    return model.is_ok() ? "no failure" : model.status().to_string();
  }

  TemporaryFolder folder_;
};

TEST_F(HfFolderTest, EveryArchitectureTypeAndShardingReadsBack) {
  for (const Family* family : kFamilies) {
    for (const auto dtype : {kernels::DType::kF32, kernels::DType::kF16, kernels::DType::kBF16}) {
      TinyModelSpec spec;
      spec.family = family;
      spec.dtype = dtype;
      spec.shards = dtype == kernels::DType::kBF16 ? 3 : 1;
      spec.has_tied_embedding = family == &kQwen3;
      if (family == &kQwen3) spec.head_dim = 32;
      const std::string folder = folder_ / (std::string(family->name) + std::string(dtype_name(dtype)));
      ASSERT_TRUE(write_tiny_hf_folder(spec, folder).is_ok());
      const auto model = open_model(folder);
      ASSERT_TRUE(model.is_ok()) << model.status().to_string();
      const ModelConfig config = testing::tiny_config(spec);
      for (const WeightSlot slot : weight_slots(config)) {
        const auto weight = (*model)->weight(slot.role, slot.layer);
        ASSERT_TRUE(weight.is_ok()) << weight.status().to_string();
        const std::string expected = testing::tensor_bytes(testing::tiny_tensor(config, slot), dtype);
        ASSERT_EQ(std::string_view(reinterpret_cast<const char*>(weight->data), expected.size()), expected);
      }
    }
  }
}

TEST_F(HfFolderTest, TheConfigIsThatOfTheFiles) {
  TinyModelSpec spec;
  spec.rope_scaling = RopeScaling{8, 1, 4, 64};
  spec.rope_base = 500000.0F;
  spec.shards = 2;
  write(spec);
  const auto model = open_model(path());
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  const ModelConfig& config = (*model)->config();
  EXPECT_EQ(config.name, "model");
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.rope_base, 500000.0F);
  EXPECT_EQ(config.rope_scaling->factor, 8.0F);
  EXPECT_EQ(config.rope_scaling->original_context, 64);
  EXPECT_EQ(config.bos_token_id, 256);
  EXPECT_EQ(testing::named_ids(config), std::vector<TokenId>{258});
  EXPECT_EQ((*model)->chat_template(), testing::kTinyChatTemplate);
  EXPECT_EQ((*model)->stored().format, "safetensors, 2 shards");
}

TEST_F(HfFolderTest, TheTokenizerOfBothFormatsIsTheSame) {
  write();
  ASSERT_TRUE(testing::write_tiny_gguf({}, folder_ / "model.gguf").is_ok());
  const auto from_folder = open_model(path()).value()->tokenizer();
  const auto from_gguf = open_model(folder_ / "model.gguf").value()->tokenizer();
  ASSERT_TRUE(from_folder.is_ok()) << from_folder.status().to_string();
  ASSERT_TRUE(from_gguf.is_ok()) << from_gguf.status().to_string();
  for (size_t id = 0; id < 256; ++id) EXPECT_EQ(from_folder->vocab[id], from_gguf->vocab[id]) << id;
  ASSERT_EQ(from_folder->added.size(), from_gguf->added.size());
  EXPECT_EQ(from_folder->added[1].content, "<|im_start|>");
  EXPECT_EQ(from_folder->added[1].id, from_gguf->added[1].id);
}

TEST_F(HfFolderTest, AFolderWithoutWeightsOpensWhereNoneAreNeeded) {
  write();
  ASSERT_TRUE(std::filesystem::remove(path() + "/model.safetensors"));
  EXPECT_THAT(failure(), HasSubstr("has neither model.safetensors nor model.safetensors.index.json"));
  const auto model = open_model(path(), Weights::kIfThere);
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  EXPECT_TRUE((*model)->tokenizer().is_ok());
  EXPECT_TRUE((*model)->stored().types.empty());
  EXPECT_EQ((*model)->weight(WeightRole::kDown, 0).status().code(), Code::kNotFound);
}

TEST_F(HfFolderTest, WeightsThatAreThereAreCheckedThoughNoneAreNeeded) {
  write();
  replace("model.safetensors", "spoilt");
  EXPECT_FALSE(open_model(path(), Weights::kIfThere).is_ok());
}

TEST_F(HfFolderTest, ABosThatOnlyTheTokenizerConfigAsksForIsPutInFront) {
  write();
  replace("tokenizer_config.json", R"({"add_bos_token":true,"bos_token":"<|endoftext|>"})");
  const auto model = open_model(path());
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  const auto spec = (*model)->tokenizer();
  ASSERT_TRUE(spec.is_ok()) << spec.status().to_string();
  EXPECT_EQ(spec->prefix_ids, std::vector<TokenId>{256});
}

// transformers 5 writes the tokenizer's bos and eos by name alone, and no add_bos_token: tokenizer.json has the numbers, and
// its post-processor puts the bos in front.
TEST_F(HfFolderTest, AFolderOfTransformers5HasItsSpecialTokensInTokenizerJson) {
  write();
  replace("generation_config.json", R"({"eos_token_id":259})");
  replace("chat_template.jinja", "{{ messages[0].content }}");
  for (const char* eos : {R"("<|reserved_3|>")", R"({"content":"<|reserved_3|>","__type":"AddedToken"})"}) {
    replace("tokenizer_config.json", std::string(R"({"tokenizer_class":"TokenizersBackend","bos_token":"<|im_start|>",)"
                                                 R"("eos_token":)") +
                                         eos + "}");
    const auto model = open_model(path());
    ASSERT_TRUE(model.is_ok()) << model.status().to_string();
    const auto spec = (*model)->tokenizer();
    ASSERT_TRUE(spec.is_ok()) << spec.status().to_string();
    const auto tokens = find_special_tokens((*model)->config(), *spec, (*model)->chat_template());
    ASSERT_TRUE(tokens.is_ok()) << tokens.status().to_string();
    EXPECT_EQ(tokens->bos_id, 257);
    EXPECT_EQ(tokens->eos_token, "<|reserved_3|>");
    ASSERT_EQ(tokens->ends.size(), 4);
    EXPECT_EQ(tokens->ends[0].id, 259);
    EXPECT_EQ(tokens->ends[0].sources.front(), "generation_config.json: eos_token_id");
    EXPECT_EQ(tokens->ends[1].id, 262);
    EXPECT_EQ(tokens->ends[1].sources.front(), "tokenizer_config.json: eos_token");
    EXPECT_EQ(tokens->ends[2].text, "<|im_end|>");
    EXPECT_EQ(tokens->ends[3].text, "<|endoftext|>");
  }
}

TEST_F(HfFolderTest, ABosOfThePostProcessorIsShownAsPutInFront) {
  write();
  EXPECT_FALSE(summarize_model(path())->adds_bos);
  std::stringstream read;
  read << std::ifstream(path() + "/tokenizer.json").rdbuf();
  std::string json = read.str();
  constexpr std::string_view kNone = R"("post_processor":null)";
  ASSERT_NE(json.find(kNone), std::string::npos);
  json.replace(json.find(kNone), kNone.size(),
               R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|im_start|>"}},)"
               R"({"Sequence":{"id":"A"}}],"special_tokens":{"<|im_start|>":{"ids":[257]}}})");
  replace("tokenizer.json", json);
  replace("tokenizer_config.json", R"({"bos_token":"<|im_start|>"})");
  const auto summary = summarize_model(path());
  ASSERT_TRUE(summary.is_ok()) << summary.status().to_string();
  EXPECT_TRUE(summary->adds_bos);
  EXPECT_THAT(format_summary(*summary), HasSubstr("bos token       257 '<|im_start|>', put before a prompt\n"));
}

TEST_F(HfFolderTest, ATemplateFileGoesBeforeTheOneInside) {
  write();
  replace("tokenizer_config.json", R"({"chat_template":"inside"})");
  EXPECT_EQ(open_model(path()).value()->chat_template(), testing::kTinyChatTemplate);
  fs::remove(path() + "/chat_template.jinja");
  EXPECT_EQ(open_model(path()).value()->chat_template(), "inside");
  fs::remove(path() + "/tokenizer_config.json");
  EXPECT_EQ(open_model(path()).value()->chat_template(), "");
}

TEST_F(HfFolderTest, WithoutATokenizerTheWeightsCanStillBeRead) {
  write();
  fs::remove(path() + "/tokenizer.json");
  const auto model = open_model(path());
  ASSERT_TRUE(model.is_ok()) << model.status().to_string();
  EXPECT_EQ((*model)->tokenizer().status().code(), Code::kNotFound);
  EXPECT_THAT((*model)->tokenizer().status().text(), HasSubstr("tokenizer.json: there is no such file"));
}

TEST_F(HfFolderTest, MissingFilesAreNamed) {
  EXPECT_THAT(failure(), HasSubstr("not_found: " + path() + ": there is no such file or folder"));
  fs::create_directory(path());
  EXPECT_THAT(failure(), HasSubstr(path() + ": has no config.json"));
  write();
  fs::remove(path() + "/model.safetensors");
  EXPECT_THAT(failure(), HasSubstr("has neither model.safetensors nor model.safetensors.index.json"));
  replace("pytorch_model.bin", "x");
  EXPECT_THAT(failure(), HasSubstr("has pytorch_model.bin, which is not read"));
}

TEST_F(HfFolderTest, AFailureNamesTheFile) {
  write();
  replace("config.json", "{");
  EXPECT_THAT(failure(), HasSubstr("corrupt: " + path() + "/config.json: at byte"));
  write();
  replace("generation_config.json", R"({"temperature":"hot"})");
  EXPECT_THAT(failure(), HasSubstr("generation_config.json: field 'temperature' is of type string; expected a number"));
  write();
  replace("tokenizer_config.json", "[]");
  EXPECT_THAT(failure(), HasSubstr("tokenizer_config.json: is JSON of type array"));
  write();
  replace("model.safetensors", "short");
  EXPECT_THAT(failure(), HasSubstr("model.safetensors: at byte 0: the header's length needs 8 bytes"));
  write();
  replace("tokenizer.json", "{}");
  EXPECT_THAT(open_model(path()).value()->tokenizer().status().text(), HasSubstr(path() + "/tokenizer.json: "));
}

TEST_F(HfFolderTest, AnIndexThatPointsOutsideTheFolderIsRefused) {
  TinyModelSpec spec;
  spec.shards = 2;
  write(spec);
  for (const char* name : {"../evil.safetensors", "/etc/evil.safetensors", "a\\\\b.safetensors", "..", "", "x.bin"}) {
    replace("model.safetensors.index.json", std::string(R"({"weight_map":{"t":")") + name + R"("}})");
    EXPECT_THAT(failure(), HasSubstr("index.json: weight_map of tensor 't' is '")) << name;
  }
  replace("model.safetensors.index.json", R"({"weight_map":{"t":1}})");
  EXPECT_THAT(failure(), HasSubstr("weight_map of tensor 't' is no string"));
  replace("model.safetensors.index.json", "{}");
  EXPECT_THAT(failure(), HasSubstr("field 'weight_map' is missing"));
  replace("model.safetensors.index.json", R"({"weight_map":{"t":"none.safetensors"}})");
  EXPECT_THAT(failure(), HasSubstr("none.safetensors: there is no such file"));
  replace("model.safetensors.index.json", R"({"weight_map":{"t":"model-00001-of-00002.safetensors"}})");
  EXPECT_THAT(failure(),
              HasSubstr("tensor 't', which " + path() + "/model.safetensors.index.json puts there, is missing"));
}

// A model.safetensors with the weights of the default spec, each as `change` leaves its name, type and shape.
struct Entry {
  std::string name;
  std::string type;
  std::vector<uint64_t> shape;
};
std::string weights_with(const std::function<void(Entry*)>& change, const std::vector<Entry>& more = {}) {
  testing::SafetensorsWriter writer;
  const ModelConfig config = testing::tiny_config({});
  const auto add = [&](const Entry& entry) {
    uint64_t size = entry.type == "I8" ? 1 : 4;
    for (const uint64_t dim : entry.shape) size *= dim;
    writer.add(entry.name, entry.type, entry.shape, std::string(size, '\0'));
  };
  for (const WeightSlot slot : weight_slots(config)) {
    const WeightShape shape = weight_shape(config, slot.role);
    Entry entry{hf_weight_name(config, slot), "F32", {shape.rows, shape.columns}};
    if (is_vector(config, slot.role)) entry.shape = {shape.columns};
    change(&entry);
    if (!entry.name.empty()) add(entry);
  }
  for (const Entry& entry : more) add(entry);
  return writer.finish();
}

TEST_F(HfFolderTest, AMissingMisshapenOrStrangeWeightIsNamed) {
  write();
  const std::string k = "model.layers.1.self_attn.k_proj.weight";
  const auto when = [&](auto change) {
    return [&, change](Entry* entry) {
      if (entry->name == k) change(entry);
    };
  };
  replace("model.safetensors", weights_with([](Entry*) {}));
  EXPECT_EQ(failure(), "no failure");
  replace("model.safetensors", weights_with(when([](Entry* entry) { entry->name.clear(); })));
  EXPECT_EQ(failure(), "not_found: " + path() + ": tensor '" + k + "' is missing");
  replace("model.safetensors", weights_with(when([](Entry* entry) { entry->shape = {64, 32}; })));
  EXPECT_EQ(failure(), "corrupt: " + path() + ": tensor '" + k + "' has shape [64, 32]; expected [32, 64]");
  replace("model.safetensors", weights_with(when([](Entry* entry) { entry->type = "I8"; })));
  EXPECT_THAT(failure(), EndsWith("tensor '" + k + "' is of type I8; F32, F16 and BF16 are computed"));
  replace("model.safetensors", weights_with([](Entry*) {}, {{"model.layers.2.mlp.up_proj.weight", "F32", {1}}}));
  EXPECT_THAT(failure(),
              HasSubstr("tensor 'model.layers.2.mlp.up_proj.weight' has no place in a llama model of 2 layers"));
  replace("model.safetensors",
          weights_with([](Entry*) {}, {{"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {8}}}));
  EXPECT_EQ(failure(), "no failure");
}

class HfCacheTest : public HfFolderTest {
 protected:
  // Puts the model at models--org--tiny/snapshots/NAME.
  void write_snapshot(const std::string& name) {
    fs::create_directories(fs::path(cache()) / "snapshots");
    ASSERT_TRUE(testing::write_tiny_hf_folder({}, cache() + "/snapshots/" + name).is_ok());
  }
  void write_main(std::string_view revision) {
    fs::create_directories(fs::path(cache()) / "refs");
    ASSERT_TRUE(write_file(cache() + "/refs/main", revision).is_ok());
  }
  std::string cache() const { return folder_ / "models--org--tiny"; }
};

TEST_F(HfCacheTest, TheOnlySnapshotOrThatOfMainIsOpened) {
  write_snapshot("aaa");
  const auto only = open_model(cache());
  ASSERT_TRUE(only.is_ok()) << only.status().to_string();
  EXPECT_EQ((*only)->config().name, "org/tiny");
  write_snapshot("bbb");
  EXPECT_THAT(open_model(cache()).status().text(), HasSubstr("has several snapshots and no refs/main"));
  write_main("bbb\n");
  EXPECT_TRUE(open_model(cache()).is_ok());
  fs::remove(cache() + "/snapshots/bbb/config.json");
  EXPECT_THAT(open_model(cache()).status().text(), HasSubstr("snapshots/bbb: has no config.json"));
}

TEST_F(HfCacheTest, ARevisionThatLeadsOutsideIsRefused) {
  write_snapshot("aaa");
  for (const char* revision : {"../..", "/etc", "..", " "}) {
    write_main(revision);
    EXPECT_THAT(open_model(cache()).status().to_string(), HasSubstr("which is no folder's name")) << revision;
  }
}

}  // namespace
}  // namespace dynamo::model
