// What has been taken out of the data and waits to be freed: detached databases and large values.
//
// Its bytes count as used until they are free. Thread: the shard's.
#ifndef SKEIN_STORAGE_RECLAIMER_H_
#define SKEIN_STORAGE_RECLAIMER_H_

#include <cstdint>
#include <deque>
#include <memory>

#include "storage/keyspace.h"

namespace skein::storage {

class Reclaimer {
 public:
  Reclaimer() = default;
  ~Reclaimer();
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  // Small ones are freed here and now.
  void Add(std::unique_ptr<Database> detached);
  void Add(Entry* entry);
  // Frees a bounded amount.
  void Step();
  uint64_t bytes() const;

 private:
  std::deque<std::unique_ptr<Database>> databases_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RECLAIMER_H_
