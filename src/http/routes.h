// Which handler answers which method and path.
// Threads: add() before the first find(); find() from any thread.  Private to the module.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace dynamo::http {

class Routes {
 public:
  void add(std::string method, std::string path, Handler handler);

  struct Match {
    const Handler* handler = nullptr;  // null: see `allow`
    std::vector<std::pair<std::string, std::string>> path_parameters;
    std::string allow;  // methods of this path, "GET, HEAD, OPTIONS"; empty: no such path
  };
  // HEAD is answered by GET's handler.
  Match find(std::string_view method, std::string_view path) const;
  std::vector<std::string> all() const;  // as added: "GET /v1/models/{id}"

 private:
  struct Route {
    std::string method;
    std::string prefix;     // whole path, or what stands before the parameter
    std::string parameter;  // its name; empty: none
    Handler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace dynamo::http
