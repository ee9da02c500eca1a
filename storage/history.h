// The reigns of a log, and where two logs part.
#ifndef SKEIN_STORAGE_HISTORY_H_
#define SKEIN_STORAGE_HISTORY_H_

#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "storage/record.h"
#include "storage/types.h"

namespace skein::storage {

// The last LSN up to which two logs agree byte for byte; nothing if none is known. The histories are oldest first and
// may have lost their oldest reigns. Pure; histories that cannot be (out of order, beyond their end) agree nowhere.
std::optional<Lsn> CommonPoint(const std::vector<Reign>& a, Lsn end_a, const std::vector<Reign>& b, Lsn end_b);

// Whether it can be the history of a log that ends at `end`: first LSNs ascend, no more reigns than are kept.
bool PlausibleHistory(const std::vector<Reign>& history, Lsn end);

// The history of an open log: its loop adds to it and reads it without a lock, others ask for copies.
class ReignList {
 public:
  // ---- The loop
  const std::vector<Reign>& all() const { return reigns_; }
  // The newest kMaxReigns are kept.
  void Add(const Reign& reign);
  void Set(std::vector<Reign> reigns);
  // ---- Any thread: the reigns that began before `lsn`.
  std::vector<Reign> UpTo(Lsn lsn) const;

 private:
  mutable std::mutex mutex_;  // held by the loop only while it changes reigns_
  std::vector<Reign> reigns_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_HISTORY_H_
