#include "storage/history.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace skein::storage {
namespace {

std::string_view IdOf(const Reign& reign) { return {reinterpret_cast<const char*>(reign.id.data()), reign.id.size()}; }

// Where the reign at `i` ends: where the next one begins, or the log's end.
Lsn EndOf(const std::vector<Reign>& history, size_t i, Lsn end) {
  return i + 1 < history.size() ? history[i + 1].first_lsn : end;
}

}  // namespace

bool PlausibleHistory(const std::vector<Reign>& history, Lsn end) {
  if (history.size() > kMaxReigns) return false;
  for (size_t i = 0; i < history.size(); ++i) {
    // A reign begins with a record of its own, so the next place is beyond its first LSN.
    if (EndOf(history, i, end) < history[i].first_lsn + kRecordHeaderSize) return false;
  }
  return true;
}

std::optional<Lsn> CommonPoint(const std::vector<Reign>& a, Lsn end_a, const std::vector<Reign>& b, Lsn end_b) {
  if (!PlausibleHistory(a, end_a) || !PlausibleHistory(b, end_b)) return std::nullopt;
  std::unordered_map<std::string_view, size_t> in_b;
  for (size_t j = 0; j < b.size(); ++j) in_b[IdOf(b[j])] = j;
  for (size_t i = a.size(); i-- > 0;) {
    const auto found = in_b.find(IdOf(a[i]));
    if (found == in_b.end()) continue;
    // One id, two beginnings: somebody is wrong about it.
    if (a[i] != b[found->second]) return std::nullopt;
    return std::min(EndOf(a, i, end_a), EndOf(b, found->second, end_b));
  }
  return std::nullopt;
}

void ReignList::Add(const Reign& reign) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (reigns_.size() == kMaxReigns) reigns_.erase(reigns_.begin());
  reigns_.push_back(reign);
}

void ReignList::Set(std::vector<Reign> reigns) {
  const std::lock_guard<std::mutex> lock(mutex_);
  reigns_ = std::move(reigns);
}

std::vector<Reign> ReignList::UpTo(Lsn lsn) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Reign> upto;
  for (const Reign& reign : reigns_) {
    if (reign.first_lsn < lsn) upto.push_back(reign);
  }
  return upto;
}

}  // namespace skein::storage
