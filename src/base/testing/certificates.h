// Certificates for tests of TLS, made by the program openssl: an authority of the test's own (ca.pem), and what it signed: server for
// 127.0.0.1 and localhost, other for another host, client. Each is NAME.pem with NAME.key; stranger_ca.pem signed nothing.
// Threads: one.
#pragma once

#include <string>

namespace dynamo {

class Certificates {
 public:
  // Why there can be none here; empty if there can.
  static std::string why_skipped();

  Certificates();
  ~Certificates();  // removes the files
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  std::string file(const std::string& name) const { return folder_ + "/" + name; }

 private:
  void openssl(const std::string& arguments) const;

  std::string folder_;
};

}  // namespace dynamo
