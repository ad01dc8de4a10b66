#include "text/testing/token_vectors.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <vector>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "text/tokenizer_json.h"

namespace dynamo::text {
namespace {

std::string_view take_line(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return line;
}

Result<std::string> json_string(std::string_view line) {
  boost::json::error_code error;
  const boost::json::value value = boost::json::parse(line, error);
  if (error || !value.is_string()) return corrupt(fmt::format("not a JSON string: {}", line));
  return std::string(value.get_string());
}

Result<std::vector<TokenId>> ids_of(std::string_view line) {
  std::vector<TokenId> ids;
  for (const char* p = line.data(); p < line.data() + line.size(); ++p) {
    TokenId id = 0;
    const auto [end, error] = std::from_chars(p, line.data() + line.size(), id);
    if (error != std::errc()) return corrupt(fmt::format("not a list of ids: {}", line));
    ids.push_back(id);
    p = end;
  }
  return ids;
}

Status check_vector(const Tokenizer& tokenizer, const std::string& text, std::string_view line) {
  const size_t tab = line.find('\t');
  TRY(const std::vector<TokenId> expected, ids_of(line.substr(0, tab)));
  const std::vector<TokenId> ids = tokenizer.encode(text);
  if (ids != expected)
    return internal(fmt::format("\"{}\" became {}, wanted {}", text, fmt::join(ids, " "), fmt::join(expected, " ")));
  std::string expected_text = text;
  if (tab != std::string_view::npos) {
    TRY(expected_text, json_string(line.substr(tab + 1)));
  }
  if (const std::string decoded = tokenizer.decode(ids, /*skip_special=*/false); decoded != expected_text)
    return internal(fmt::format("\"{}\" decoded to \"{}\", wanted \"{}\"", text, decoded, expected_text));
  return Status();
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return not_found(path);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

Result<size_t> check_vectors(const Tokenizer& tokenizer, const std::string& folder, std::string_view name) {
  TRY(const std::string texts_file, read_text_file(folder + "/texts.jsonl"));
  TRY(const std::string ids_file, read_text_file(fmt::format("{}/{}.ids", folder, name)));
  std::string_view texts = texts_file, ids = ids_file;
  size_t count = 0;
  while (!texts.empty() && !ids.empty()) {
    TRY(const std::string text, json_string(take_line(&texts)));
    ++count;
    if (const Status same = check_vector(tokenizer, text, take_line(&ids)); !same.is_ok())
      return same.with(fmt::format("{}, text {}", name, count));
  }
  if (!texts.empty() || !ids.empty()) return corrupt(fmt::format("{}: not as many lines as texts", name));
  return count;
}

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& folder, std::string_view name) {
  TRY(const std::string json, read_text_file(fmt::format("{}/{}.json", folder, name)));
  TRY(TokenizerSpec spec, tokenizer_spec_from_json(json));
  return Tokenizer::create(std::move(spec));
}

}  // namespace dynamo::text
