#include "http/routes.h"

#include "base/check.h"

namespace dynamo::http {

void Routes::add(std::string method, std::string path, Handler handler) {
  Route route{std::move(method), std::move(path), {}, std::move(handler)};
  if (const size_t brace = route.prefix.find('{'); brace != std::string::npos) {
    CHECK(route.prefix.back() == '}' && brace > 0 && route.prefix[brace - 1] == '/');
    route.parameter = route.prefix.substr(brace + 1, route.prefix.size() - brace - 2);
    route.prefix.resize(brace);
  }
  routes_.push_back(std::move(route));
}

Routes::Match Routes::find(std::string_view method, std::string_view path) const {
  Match match;
  const std::string_view wanted = method == "HEAD" ? std::string_view("GET") : method;
  for (const Route& route : routes_) {
    const bool fits = route.parameter.empty() ? path == route.prefix
                                              : path.size() > route.prefix.size() && path.starts_with(route.prefix);
    if (!fits) continue;
    match.allow += route.method == "GET" ? "GET, HEAD, " : route.method + ", ";
    if (route.method != wanted) continue;
    match.handler = &route.handler;
    if (!route.parameter.empty())
      match.path_parameters = {{route.parameter, std::string(path.substr(route.prefix.size()))}};
  }
  if (!match.allow.empty()) match.allow += "OPTIONS";
  return match;
}

std::vector<std::string> Routes::all() const {
  std::vector<std::string> all;
  for (const Route& route : routes_) {
    const std::string parameter = route.parameter.empty() ? "" : "{" + route.parameter + "}";
    all.push_back(route.method + " " + route.prefix + parameter);
  }
  return all;
}

}  // namespace dynamo::http
