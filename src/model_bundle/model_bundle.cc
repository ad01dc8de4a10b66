#include "model_bundle/model_bundle.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "generate/sampling_limits.h"
#include "wire/messages.pb.h"

namespace dynamo::model_bundle {
namespace {

void card_to_message(const ModelCard& card, wire::proto::Card* out) {
  out->set_architecture(card.architecture);
  out->set_dtype(card.dtype);
  out->set_context_length(card.context_length);
  out->set_vocab_size(card.vocab_size);
  out->set_block_tokens(card.block_tokens);
  out->mutable_eos_token_ids()->Add(card.eos_token_ids.begin(), card.eos_token_ids.end());
  if (card.bos_token_id) out->set_bos_token_id(*card.bos_token_id);
  out->set_bos_token(card.bos_token);
  out->set_eos_token(card.eos_token);
  if (card.default_temperature) out->set_default_temperature(*card.default_temperature);
  if (card.default_top_p) out->set_default_top_p(*card.default_top_p);
  if (card.default_top_k) out->set_default_top_k(*card.default_top_k);
}

ModelCard card_from_message(const wire::proto::Card& message) {
  ModelCard card;
  card.architecture = message.architecture();
  card.dtype = message.dtype();
  card.context_length = message.context_length();
  card.vocab_size = message.vocab_size();
  card.block_tokens = message.block_tokens();
  card.eos_token_ids.assign(message.eos_token_ids().begin(), message.eos_token_ids().end());
  if (message.has_bos_token_id()) card.bos_token_id = message.bos_token_id();
  card.bos_token = message.bos_token();
  card.eos_token = message.eos_token();
  if (message.has_default_temperature()) card.default_temperature = message.default_temperature();
  if (message.has_default_top_p()) card.default_top_p = message.default_top_p();
  if (message.has_default_top_k()) card.default_top_k = message.default_top_k();
  return card;
}

// What the authors advise goes into every request that is silent.
Status check_defaults(const ModelCard& card) {
  SamplingParams sampling;
  sampling.temperature = card.default_temperature.value_or(sampling.temperature);
  sampling.top_p = card.default_top_p.value_or(sampling.top_p);
  sampling.top_k = card.default_top_k.value_or(sampling.top_k);
  clamp_to_limits(&sampling);
  return check_limits(sampling);
}

void tokenizer_to_message(const text::TokenizerSpec& spec, wire::proto::TokenizerParts* out) {
  for (const std::string& token : spec.vocab) out->add_vocab(token);
  for (const auto& [left, right] : spec.merges) {
    out->add_merges(left);
    out->add_merges(right);
  }
  for (const std::string& pattern : spec.split_patterns) out->add_split_patterns(pattern);
  out->set_splits_digits(spec.splits_digits);
  out->set_normalizes_nfc(spec.normalizes_nfc);
  out->set_adds_prefix_space(spec.adds_prefix_space);
  out->set_ignores_merges(spec.ignores_merges);
  for (const text::AddedToken& token : spec.added) {
    auto* added = out->add_added();
    added->set_id(token.id);
    added->set_content(token.content);
    added->set_is_special(token.is_special);
    added->set_lstrip(token.lstrip);
    added->set_rstrip(token.rstrip);
    added->set_single_word(token.single_word);
    added->set_normalized(token.normalized);
  }
  out->mutable_prefix_ids()->Add(spec.prefix_ids.begin(), spec.prefix_ids.end());
  out->mutable_suffix_ids()->Add(spec.suffix_ids.begin(), spec.suffix_ids.end());
}

text::TokenizerSpec tokenizer_from_message(const wire::proto::TokenizerParts& message) {
  text::TokenizerSpec spec;
  spec.vocab.assign(message.vocab().begin(), message.vocab().end());
  for (int i = 0; i + 1 < message.merges_size(); i += 2)
    spec.merges.emplace_back(message.merges(i), message.merges(i + 1));
  spec.split_patterns.assign(message.split_patterns().begin(), message.split_patterns().end());
  spec.splits_digits = message.splits_digits();
  spec.normalizes_nfc = message.normalizes_nfc();
  spec.adds_prefix_space = message.adds_prefix_space();
  spec.ignores_merges = message.ignores_merges();
  for (const auto& added : message.added()) {
    spec.added.push_back({.id = added.id(),
                          .content = added.content(),
                          .is_special = added.is_special(),
                          .lstrip = added.lstrip(),
                          .rstrip = added.rstrip(),
                          .single_word = added.single_word(),
                          .normalized = added.normalized()});
  }
  spec.prefix_ids.assign(message.prefix_ids().begin(), message.prefix_ids().end());
  spec.suffix_ids.assign(message.suffix_ids().begin(), message.suffix_ids().end());
  return spec;
}

}  // namespace

std::string to_bytes(const Parts& parts) {
  wire::proto::ModelBundle bundle;
  card_to_message(parts.card, bundle.mutable_card());
  tokenizer_to_message(parts.tokenizer, bundle.mutable_tokenizer());
  bundle.set_chat_template(parts.chat_template);
  return bundle.SerializeAsString();  // no maps in it, so the same parts are the same bytes
}

std::string digest_of(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) == 1);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

Result<Parts> from_bytes(std::string_view bytes, std::string_view digest) {
  if (digest_of(bytes) != digest) return corrupt("a model's description whose digest is not the one asked for");
  wire::proto::ModelBundle bundle;
  if (!bundle.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return corrupt("a model's description that cannot be read");
  Parts parts;
  parts.card = card_from_message(bundle.card());
  if (const Status wrong = check_defaults(parts.card); !wrong.is_ok())
    return corrupt(fmt::format("a model's description whose default {}", wrong.text()));
  parts.tokenizer = tokenizer_from_message(bundle.tokenizer());
  parts.chat_template = bundle.chat_template();
  return parts;
}

}  // namespace dynamo::model_bundle
