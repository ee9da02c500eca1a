#include "node/diagnostics.h"

#include <algorithm>
#include <utility>

namespace skein::node {

std::vector<std::string> SlowLog::Shorten(Args argv) {
  constexpr size_t kMaxArgs = 32, kMaxBytes = 128;
  std::vector<std::string> out;
  const size_t n = std::min(argv.size(), kMaxArgs);
  out.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    if (i + 1 == n && argv.size() > n) {
      out.push_back("... (" + std::to_string(argv.size() - n + 1) + " more arguments)");
    } else if (argv[i].size() > kMaxBytes) {
      out.push_back(std::string(argv[i].substr(0, kMaxBytes)) + "... (" + std::to_string(argv[i].size() - kMaxBytes) +
                    " more bytes)");
    } else {
      out.emplace_back(argv[i]);
    }
  }
  return out;
}

void SlowLog::Add(SlowLogEntry entry, size_t max_len) {
  entries_.push_front(std::move(entry));
  Trim(max_len);
}

void SlowLog::Trim(size_t max_len) {
  while (entries_.size() > max_len) entries_.pop_back();
}

}  // namespace skein::node
