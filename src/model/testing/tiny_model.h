// Tiny random models on disk, as GGUF files and Hugging Face folders, that can be served end to end in tests.
//
// Both formats of one spec hold the same weights (before quantisation), and a few lines of numpy make the same bits:
//   name   the tensor's Hugging Face name, "model.layers.0.self_attn.q_proj.weight", for both formats
//   index  row * columns + column in Hugging Face's layout (GGUF's permutation of q and k comes after)
//   h      FNV-1a 64 of the name: h = 0xcbf29ce484222325; for each byte: h = (h xor byte) * 0x100000001b3
//   z      h + (index + 1) * 0x9e3779b97f4a7c15, then splitmix64's end:
//          z = (z xor (z >> 30)) * 0xbf58476d1ce4e5b9; z = (z xor (z >> 27)) * 0x94d049bb133111eb; z = z xor (z >> 31)
//   unit   (int(z >> 48) - 32768) / 32768: in [-1, 1), a multiple of 2^-15
//   value  name ends in "norm.weight": 1 + unit / 4;   name ends in ".bias": unit / 4;
//          else unit * 2^-floor(floor(log2(columns)) / 2), about 1 / sqrt(fan-in)
// All arithmetic is modulo 2^64 and every value is exact in fp32. F16 and BF16 round it to nearest, ties to even. Norms
// and biases are F32 in GGUF files and of the spec's dtype in folders.
//
// Tokenizer: byte-level BPE without merges: ids 0 to 255 are the bytes, 256 <|endoftext|> (bos), 257 <|im_start|>,
// 258 <|im_end|> (eos), the rest of the vocabulary <|reserved_0|>, <|reserved_1|>, ...   Template: ChatML.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/dtype.h"
#include "model/families/families.h"
#include "model/model_config.h"

namespace dynamo::model::testing {

struct TinyModelSpec {
  const Family* family = &kLlama;
  uint32_t layers = 2;
  uint32_t width = 64;
  uint32_t heads = 4;
  uint32_t kv_heads = 2;
  uint32_t head_dim = 16;
  uint32_t ffn_width = 96;
  uint32_t vocab_size = 272;  // >= 259
  uint32_t context_length = 512;
  bool has_tied_embedding = false;
  float rope_base = 10000.0F;
  // In GGUF files the scaling becomes rope_freqs.weight, as converters do.
  std::optional<RopeScaling> rope_scaling;
  // Of matrices. Q8_0, Q4_0, Q4_1: GGUF only, and every matrix's columns must be a multiple of 32.
  kernels::DType dtype = kernels::DType::kF32;
  uint32_t shards = 1;  // of a folder; more than one come with an index
};

// The config that a reader must find in either file of `spec`.
ModelConfig tiny_config(const TinyModelSpec& spec);
// The ids of config.named_ends.
std::vector<TokenId> named_ids(const ModelConfig& config);

// The value at `index` of the tensor, `columns` wide, by the formula above.
float tiny_weight(std::string_view tensor_name, uint64_t columns, uint64_t index);

// ChatML; ends with "<|im_start|>assistant\n" if add_generation_prompt.
extern const std::string_view kTinyChatTemplate;

// Makes `dir` (its parent must exist) and writes config.json, generation_config.json, tokenizer.json,
// tokenizer_config.json, chat_template.jinja and model.safetensors. Errors: kInternal (the disk).
Status write_tiny_hf_folder(const TinyModelSpec& spec, const std::string& dir);
Status write_tiny_gguf(const TinyModelSpec& spec, const std::string& path);
// The same file in memory.
std::string tiny_gguf(const TinyModelSpec& spec);
// The same split into several as llama.cpp's gguf-split does it, tensors in turn; the first may hold none of them.
std::vector<std::string> tiny_gguf_parts(const TinyModelSpec& spec, uint32_t parts, bool has_empty_first = false);

// Writes `bytes` as a file. Errors: kInternal names the path.
Status write_file(const std::string& path, std::string_view bytes);

// A folder of its own under the system's temporary folder, removed with its contents at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

}  // namespace dynamo::model::testing
