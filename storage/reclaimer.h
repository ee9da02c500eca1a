// What has been taken out of the data and waits to be freed: detached databases and large values.
//
// Small things are freed at once; others on the background thread, or if there is none, or its queue is full, in steps
// on the shard's thread. Their bytes count as used until they are free: the background thread adds what it freed to a
// count that only it writes, and the shard subtracts that count from what it handed over. Thread: the shard's.
#ifndef SKEIN_STORAGE_RECLAIMER_H_
#define SKEIN_STORAGE_RECLAIMER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>

#include "storage/background_free.h"
#include "storage/keyspace.h"

namespace skein::storage {

class Reclaimer {
 public:
  // `background` may be null.
  explicit Reclaimer(BackgroundFree* background);
  ~Reclaimer();
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  // A small database is freed at once.
  void Add(std::unique_ptr<Database> detached);
  // None is: for several in a row.
  void AddLater(std::unique_ptr<Database> detached);
  void Add(Entry* entry);
  // Frees a bounded amount of what waits on this thread; true if more is left.
  bool Step();
  uint64_t bytes() const;

 private:
  class DatabaseJob;
  class EntryJob;
  using Freed = std::atomic<uint64_t>;

  // `bytes` are the job's.
  void Hand(std::unique_ptr<BackgroundFree::Job> job, uint64_t bytes);

  BackgroundFree* const background_;
  // Shared with the jobs, which may outlive the shard.
  std::shared_ptr<Freed> freed_ = std::make_shared<Freed>(0);
  uint64_t handed_ = 0;
  std::deque<std::unique_ptr<BackgroundFree::Job>> jobs_;  // for Step
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RECLAIMER_H_
