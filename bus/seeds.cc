#include "bus/seeds.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/numbers.h"
#include "bus/engine/limits.h"

namespace skein::bus {
namespace {

bool PlausibleHost(std::string_view host) {
  if (host.empty() || host.size() > kMaxHostName) return false;
  return std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
           c == '_' || c == ':';
  });
}

}  // namespace

absl::StatusOr<std::vector<Seed>> ParseSeeds(const std::vector<std::string>& words, uint16_t default_port) {
  std::string all;
  for (const std::string& word : words) all += word + " ";
  std::vector<Seed> seeds;
  for (size_t at = 0; (at = all.find_first_not_of(", \t", at)) != std::string::npos;) {
    const size_t end = all.find_first_of(", \t", at);
    const std::string word = all.substr(at, end - at);
    at = end;
    const auto wrong = [&](const char* what) { return absl::InvalidArgumentError("'" + word + "' " + what); };
    std::string host = word, port;
    if (word.starts_with('[')) {
      const size_t close = word.find(']');
      if (close == std::string::npos) return wrong("lacks a ']'");
      host = word.substr(1, close - 1);
      port = word.substr(close + 1);
      if (!port.empty() && !port.starts_with(':')) host.clear();
    } else if (std::count(word.begin(), word.end(), ':') == 1) {  // more of them: an IPv6 address
      host = word.substr(0, word.find(':'));
      port = word.substr(word.find(':'));
    }
    if (!PlausibleHost(host)) return wrong("is not host[:bus-port]");
    uint32_t number = default_port;
    const bool good = port.empty() || (absl::SimpleAtoi(port.substr(1), &number) && number > 0 && number <= 65535);
    if (!good) return wrong("has no valid bus port after its colon");
    Seed seed{std::move(host), static_cast<uint16_t>(number)};
    if (std::find(seeds.begin(), seeds.end(), seed) == seeds.end()) seeds.push_back(std::move(seed));
    if (seeds.size() > kMaxSeeds) return absl::InvalidArgumentError("more than 64 seeds");
  }
  return seeds;
}

}  // namespace skein::bus
