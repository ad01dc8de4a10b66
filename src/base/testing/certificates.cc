#include "base/testing/certificates.h"

#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "base/check.h"

namespace dynamo {

std::string Certificates::why_skipped() {
  return std::system("openssl version >/dev/null 2>&1") == 0 ? "" : "openssl is not installed";
}

Certificates::Certificates()
    : folder_(std::filesystem::temp_directory_path().string() + "/dynamo_certificates_XXXXXX") {
  CHECK(::mkdtemp(folder_.data()));
  const std::string new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
  for (const std::string name : {"ca", "stranger_ca"})
    openssl(fmt::format("req -x509 {0} -days 2 -subj /CN={1} -keyout {1}.key -out {1}.pem", new_key, name));
  std::ofstream(file("server.names")) << "subjectAltName=IP:127.0.0.1,DNS:localhost\n";
  std::ofstream(file("other.names")) << "subjectAltName=IP:127.0.0.9,DNS:other.example\n";
  std::ofstream(file("client.names")) << "subjectAltName=DNS:client.example\n";
  for (const std::string name : {"server", "other", "client"}) {
    openssl(fmt::format("req {0} -subj /CN={1} -keyout {1}.key -out {1}.csr", new_key, name));
    openssl(fmt::format(
        "x509 -req -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -in {0}.csr -extfile {0}.names -out {0}.pem",
        name));
  }
}

Certificates::~Certificates() {
  std::filesystem::remove_all(folder_);
}

void Certificates::openssl(const std::string& arguments) const {
  CHECK(std::system(fmt::format("cd '{}' && openssl {} >/dev/null 2>&1", folder_, arguments).c_str()) == 0);
}

}  // namespace dynamo
