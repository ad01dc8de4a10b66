#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>

namespace dynamo::log {
namespace {

struct Filter {
  Level fallback = Level::info;
  std::map<std::string, Level, std::less<>> modules;

  Level lowest() const {
    Level lowest = fallback;
    for (const auto& [module, level] : modules) lowest = std::min(lowest, level);
    return lowest;
  }
};

constexpr std::array<std::string_view, 6> kLevelNames = {"trace", "debug", "info", "warn", "error", "off"};
constexpr std::array<spdlog::level::level_enum, 6> kSpdlogLevels = {spdlog::level::trace, spdlog::level::debug,
                                                                    spdlog::level::info,  spdlog::level::warn,
                                                                    spdlog::level::err,   spdlog::level::off};

std::atomic<Level> lowest_enabled{Level::info};
std::atomic<bool> is_json{false};

std::shared_ptr<const Filter>& filter_slot() {
  static std::shared_ptr<const Filter> filter = std::make_shared<const Filter>();
  return filter;
}

spdlog::logger& sink() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("dynamo", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_level(spdlog::level::trace);
    made->set_pattern("%v");
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

std::optional<Level> parse_level(std::string_view name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) return static_cast<Level>(i);
  }
  return std::nullopt;
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

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool needs_quotes(std::string_view value) {
  return value.empty() || value.find_first_of(" \"=\xC2") != std::string_view::npos ||
         std::ranges::any_of(value, is_control);
}

// Nothing of `value` ends the line, or reaches a terminal as an order to it: no C0, DEL or C1 (two bytes in UTF-8).
void append_escaped(std::string& line, std::string_view value, bool is_quoted) {
  for (size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    const bool is_c1 = c == '\xC2' && i + 1 < value.size() && (static_cast<unsigned char>(value[i + 1]) & 0xE0) == 0x80;
    if (c == '\n') {
      line += "\\n";
    } else if (is_control(c) || is_c1) {
      line += fmt::format("\\x{:02x}", static_cast<unsigned char>(is_c1 ? value[++i] : c));
    } else {
      if (is_quoted && (c == '"' || c == '\\')) line += '\\';
      line += c;
    }
  }
}

void append_quoted(std::string& line, std::string_view value) {
  line += '"';
  append_escaped(line, value, /*is_quoted=*/true);
  line += '"';
}

void append_json(std::string& line, std::string_view text) {
  line += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      line += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      line += c;
    }
  }
  line += '"';
}

std::string json_line(Level level, std::string_view text, std::initializer_list<Field> fields) {
  std::string line =
      fmt::format(R"({{"time":"{}","level":"{}","message":)", timestamp(), kLevelNames[static_cast<size_t>(level)]);
  append_json(line, text);
  for (const Field& field : fields) {
    line += ',';
    append_json(line, field.key);
    line += ':';
    append_json(line, field.value);
  }
  return line + '}';
}

}  // namespace

void write_json_lines() {
  is_json = true;
}

Status configure(std::string_view text) {
  auto filter = std::make_shared<Filter>();
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const size_t equals = part.find('=');
    const std::string_view name = equals == std::string_view::npos ? part : part.substr(equals + 1);
    const auto level = parse_level(name);
    if (!level) {
      return invalid(
          fmt::format("log filter: '{}' is no level; use trace, debug, info, warn, error or off, "
                      "or module=level, separated by commas",
                      name));
    }
    if (equals == std::string_view::npos) {
      filter->fallback = *level;
    } else {
      filter->modules[std::string(part.substr(0, equals))] = *level;
    }
  }
  lowest_enabled = filter->lowest();
  std::atomic_store(&filter_slot(), std::shared_ptr<const Filter>(std::move(filter)));
  return {};
}

bool is_enabled(Level level, std::string_view module) {
  if (level < lowest_enabled.load(std::memory_order_relaxed)) return false;
  const auto filter = std::atomic_load(&filter_slot());
  const auto found = filter->modules.find(module);
  return level >= (found == filter->modules.end() ? filter->fallback : found->second);
}

void write(Level level, std::string_view text, std::initializer_list<Field> fields) {
  static constexpr std::array<std::string_view, 6> kTags = {"[TRACE] ", "[DEBUG] ", "[INFO] ",
                                                            "[WARN] ",  "[ERROR] ", ""};
  if (is_json.load(std::memory_order_relaxed)) {
    sink().log(kSpdlogLevels[static_cast<size_t>(level)], json_line(level, text, fields));
    return;
  }
  std::string line = timestamp();
  line += ' ';
  line += kTags[static_cast<size_t>(level)];
  append_escaped(line, text, /*is_quoted=*/false);
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    if (needs_quotes(field.value)) {
      append_quoted(line, field.value);
    } else {
      line += field.value;
    }
  }
  sink().log(kSpdlogLevels[static_cast<size_t>(level)], line);
}

}  // namespace dynamo::log
