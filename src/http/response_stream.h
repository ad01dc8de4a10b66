// Writes responses to one connection's socket.
// Threads: the connection's.  Private to the module.
#pragma once

#include <boost/asio/ip/tcp.hpp>

#include "base/clock.h"
#include "http/message.h"
#include "http/server.h"

namespace dynamo::http {

class SocketResponse final : public ResponseWriter {
 public:
  // Borrows the socket. `version` 10 or 11; `is_head`: bodies are left out; `keeps_alive` as the client asked.
  SocketResponse(boost::asio::ip::tcp::socket* socket, const ServerOptions* options, int version, bool is_head,
                 bool keeps_alive)
      : socket_(socket), options_(options), version_(version), is_head_(is_head), keeps_alive_(keeps_alive) {}

  Task<Status> send(Response response) override;
  Task<Status> begin(Response head) override;
  Task<Status> write(std::string piece) override;
  Task<Status> end() override;

  bool has_begun() const { return stage_ != Stage::kNothing; }
  bool is_complete() const { return stage_ == Stage::kComplete; }
  bool has_failed() const { return has_failed_; }  // the client is gone or does not read
  // The connection can carry another request.
  bool keeps_alive() const { return keeps_alive_ && is_complete(); }

 private:
  enum class Stage { kNothing, kStreaming, kComplete };

  std::string head_of(const Response& response, bool is_stream);
  Task<Status> write_all(std::string first, std::string second);

  boost::asio::ip::tcp::socket* socket_;
  const ServerOptions* options_;
  int version_;
  bool is_head_;
  bool keeps_alive_;
  bool has_failed_ = false;
  Stage stage_ = Stage::kNothing;
};

}  // namespace dynamo::http
