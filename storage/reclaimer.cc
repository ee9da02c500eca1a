#include "storage/reclaimer.h"

#include <utility>

namespace skein::storage {
namespace {

// Entries freed in a step: about a tenth of a millisecond when none is in the processor's cache.
constexpr size_t kStepEntries = 1024;
// Freeing values below this takes the allocator no longer than freeing small ones.
constexpr size_t kLargeValue = 256u << 10;

}  // namespace

class Reclaimer::DatabaseJob : public BackgroundFree::Job {
 public:
  DatabaseJob(std::unique_ptr<Database> database, std::shared_ptr<Freed> freed)
      : database_(std::move(database)), freed_(std::move(freed)) {}
  bool Step() override {
    const uint64_t before = database_->bytes();
    const bool more = database_->FreeSome(kStepEntries);
    freed_->fetch_add(before - database_->bytes(), std::memory_order_relaxed);
    return more;
  }

 private:
  std::unique_ptr<Database> database_;
  std::shared_ptr<Freed> freed_;
};

class Reclaimer::EntryJob : public BackgroundFree::Job {
 public:
  EntryJob(Entry* entry, std::shared_ptr<Freed> freed) : entry_(entry), freed_(std::move(freed)) {}
  ~EntryJob() override {
    const uint64_t bytes = entry_->memory_usage();
    EntryOps::Free(entry_);
    freed_->fetch_add(bytes, std::memory_order_relaxed);
  }
  // One allocation, freed whole with the job.
  bool Step() override { return false; }

 private:
  Entry* const entry_;
  std::shared_ptr<Freed> freed_;
};

Reclaimer::Reclaimer(BackgroundFree* background) : background_(background) {}

Reclaimer::~Reclaimer() = default;

void Reclaimer::Hand(std::unique_ptr<BackgroundFree::Job> job, uint64_t bytes) {
  handed_ += bytes;
  if (background_ == nullptr || !background_->Submit(&job)) jobs_.push_back(std::move(job));
}

void Reclaimer::Add(std::unique_ptr<Database> detached) {
  if (detached->FreeSome(kStepEntries)) AddLater(std::move(detached));
}

void Reclaimer::AddLater(std::unique_ptr<Database> detached) {
  const uint64_t bytes = detached->bytes();
  Hand(std::make_unique<DatabaseJob>(std::move(detached), freed_), bytes);
}

void Reclaimer::Add(Entry* entry) {
  const size_t bytes = entry->memory_usage();
  if (bytes < kLargeValue) {
    EntryOps::Free(entry);
  } else {
    Hand(std::make_unique<EntryJob>(entry, freed_), bytes);
  }
}

bool Reclaimer::Step() {
  if (!jobs_.empty() && !jobs_.front()->Step()) jobs_.pop_front();
  return !jobs_.empty();
}

uint64_t Reclaimer::bytes() const { return handed_ - freed_->load(std::memory_order_relaxed); }

}  // namespace skein::storage
