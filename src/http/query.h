// What stands in a request's target in percent-encoding: paths, and the parameters of a query.
// Source: RFC 3986 section 2.1; WHATWG URL, application/x-www-form-urlencoded.  Threads: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dynamo::http {

// Puts the bytes that `text` stands for into `out`. False: a '%' without two hexadecimal digits behind it, or "%00".
bool percent_decode(std::string_view text, std::string* out);

// The first value of a parameter of a query such as "last=5&request_id=a%3Ab", decoded; none if it is not there. '+' is
// a blank, and a parameter without '=' has the empty value. Errors: kInvalid (the value's encoding is broken; names the
// parameter).
Result<std::optional<std::string>> query_parameter(std::string_view query, std::string_view name);

}  // namespace dynamo::http
