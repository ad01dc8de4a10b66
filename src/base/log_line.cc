#include "base/log_line.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>

namespace dynamo::log {
namespace {

// What text begins with: a character of UTF-8 (RFC 3629), or one byte that is none.
struct Piece {
  size_t bytes = 1;
  bool is_character = false;
  uint32_t code = 0;  // of the character, or the byte
};

Piece first_piece(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return {1, true, lead};
  const Piece none{1, false, lead};
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return none;
  uint32_t code = lead & (0x7fU >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return none;
    code = code << 6 | (at(i) & 0x3f);
  }
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};  // less has a shorter form
  if (code < kLeast[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return none;
  return {bytes, true, code};
}

// C0, DEL and C1: what terminals take for commands.
bool is_control(uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

// Appends `text`, what must not stand in a line as escapes. Returns: whether there was any of that.
bool append_escaped(std::string& line, std::string_view text, bool is_quoted) {
  bool has_escapes = false;
  while (!text.empty()) {
    const Piece piece = first_piece(text);
    const std::string_view bytes = text.substr(0, piece.bytes);
    text.remove_prefix(piece.bytes);
    if (!piece.is_character || is_control(piece.code)) {
      has_escapes = true;
      switch (piece.code) {
        case '\n':
          line += "\\n";
          continue;
        case '\r':
          line += "\\r";
          continue;
        case '\t':
          line += "\\t";
          continue;
        default:
          for (const char byte : bytes) line += fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
      }
      continue;
    }
    if (is_quoted && (piece.code == '"' || piece.code == '\\')) line += '\\';
    line += bytes;
  }
  return has_escapes;
}

void append_value(std::string& line, std::string_view value) {
  const size_t begin = line.size();
  const bool needs_quotes = value.empty() || value.find_first_of(" \"=") != std::string_view::npos;
  if (!needs_quotes && !append_escaped(line, value, false)) return;
  line.resize(begin);
  line += '"';
  append_escaped(line, value, true);
  line += '"';
}

// Not json/writer.h, which is built on this module, and whose texts are UTF-8 already: a log's may be anything.
void append_json(std::string& line, std::string_view text) {
  line += '"';
  while (!text.empty()) {
    const Piece piece = first_piece(text);
    if (!piece.is_character) {
      line += "\\ufffd";
    } else if (is_control(piece.code)) {
      line += fmt::format("\\u{:04x}", piece.code);
    } else {
      if (piece.code == '"' || piece.code == '\\') line += '\\';
      line += text.substr(0, piece.bytes);
    }
    text.remove_prefix(piece.bytes);
  }
  line += '"';
}

}  // namespace

std::string text_line(std::string_view time, Level level, std::string_view text, std::initializer_list<Field> fields) {
  static constexpr std::array<std::string_view, 6> kTags = {" [TRACE] ", " [DEBUG] ", " [INFO] ",
                                                            " [WARN] ",  " [ERROR] ", " "};
  std::string line(time);
  line += kTags[static_cast<size_t>(level)];
  append_escaped(line, text, false);
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  line += '\n';
  return line;
}

std::string json_line(std::string_view time, Level level, std::string_view text, std::initializer_list<Field> fields) {
  static constexpr std::array<std::string_view, 6> kNames = {"trace", "debug", "info", "warn", "error", "off"};
  std::string line = fmt::format(R"({{"time":"{}","level":"{}","message":)", time, kNames[static_cast<size_t>(level)]);
  append_json(line, text);
  for (const Field& field : fields) {
    line += ',';
    append_json(line, field.key);
    line += ':';
    append_json(line, field.value);
  }
  line += "}\n";
  return line;
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(millis / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, millis % 1000);
}

}  // namespace dynamo::log
