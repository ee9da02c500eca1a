#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bus/bus.h"

namespace skein::bus {
namespace {

constexpr size_t kMaxFileBytes = kMaxSecrets * (kMaxSecretBytes + 2);

// One secret a line, newest first.
absl::StatusOr<std::vector<std::string>> ReadSecrets(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::InvalidArgumentError(absl::StrCat("'cluster-secret-file ", path, "': ", strerror(errno)));
  std::string text(kMaxFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return absl::InvalidArgumentError(absl::StrCat("'cluster-secret-file ", path, "': cannot be read"));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("'cluster-secret-file ", path, "': longer than any list of secrets"));
  }
  std::vector<std::string> secrets;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (std::string line : lines) {
    absl::StripAsciiWhitespace(&line);
    if (!line.empty()) secrets.push_back(std::move(line));
  }
  if (secrets.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("'cluster-secret-file ", path, "': there is no secret in it"));
  }
  return secrets;
}

}  // namespace

absl::StatusOr<SecretsPtr> LoadSecrets(const BusOptions& options) {
  std::vector<std::string> words = options.secrets;
  std::string where = "'cluster-secret'";
  if (!options.secret_file.empty()) {
    if (!words.empty())
      return absl::InvalidArgumentError("'cluster-secret' and 'cluster-secret-file': set one of them");
    absl::StatusOr<std::vector<std::string>> read = ReadSecrets(options.secret_file);
    if (!read.ok()) return read.status();
    words = *std::move(read);
    where = absl::StrCat("'cluster-secret-file ", options.secret_file, "'");
  }
  absl::StatusOr<SecretsPtr> secrets = Secrets::Create(words);
  if (!secrets.ok()) return absl::InvalidArgumentError(absl::StrCat(where, ": ", secrets.status().message()));
  return secrets;
}

absl::StatusOr<BusTrust> LoadTrust(const BusOptions& options) {
  BusTrust trust;
  absl::StatusOr<SecretsPtr> secrets = LoadSecrets(options);
  if (!secrets.ok()) return secrets.status();
  trust.secrets = *std::move(secrets);
  if (options.tls_cluster) {
    absl::StatusOr<TlsContextPtr> tls = TlsContext::Create(options.tls);
    if (!tls.ok()) return absl::InvalidArgumentError(absl::StrCat("'tls-cluster yes': ", tls.status().message()));
    trust.tls = *std::move(tls);
  }
  return trust;
}

}  // namespace skein::bus
