#include "frontend/config.h"

#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace dynamo::frontend {
namespace {

namespace json = boost::json;

Result<double> number_in(const json::value& value, std::string_view name, double least, double most) {
  boost::system::error_code error;
  const double number = value.is_number() ? value.to_number<double>(error) : -1;
  if (value.is_number() && !error && number >= least && number <= most) return number;
  return invalid(fmt::format("'{}' is {}; it must be a number in [{}, {}]", name, json::serialize(value), least, most));
}

}  // namespace

Result<router::RouterSettings> settings_from_json(std::string_view text, router::RouterSettings base) {
  boost::system::error_code error;
  const json::value parsed = json::parse(text, error);
  if (error || !parsed.is_object()) return invalid("not a JSON object");
  for (const auto& [name, value] : parsed.get_object()) {
    if (name == "overlap_score_weight") {
      TRY(base.overlap_weight, number_in(value, name, 0, 100));
    } else if (name == "router_temperature") {
      TRY(base.temperature, number_in(value, name, 0, 100));
    } else if (name == "max_local_prefill_length" && value.is_string() && value.get_string() == "auto") {
      base.max_local_prefill_length.reset();
    } else if (name == "max_local_prefill_length") {
      TRY(const double tokens, number_in(value, name, 0, 1e9));
      base.max_local_prefill_length = static_cast<uint32_t>(tokens);
    } else if (name == "busy_threshold" && value.is_null()) {
      base.busy_threshold.reset();
    } else if (name == "busy_threshold") {
      TRY(base.busy_threshold, number_in(value, name, 0.01, 1));
    } else {
      return invalid(
          fmt::format("'{}' is no setting; there are overlap_score_weight, router_temperature, busy_threshold and "
                      "max_local_prefill_length",
                      std::string_view(name)));
    }
  }
  return base;
}

}  // namespace dynamo::frontend
