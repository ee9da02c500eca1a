#include "storage/reclaimer.h"

#include <utility>

namespace skein::storage {
namespace {

// Entries freed at once: some tens of microseconds.
constexpr size_t kStepEntries = 512;

}  // namespace

Reclaimer::~Reclaimer() = default;

void Reclaimer::Add(std::unique_ptr<Database> detached) {
  if (detached->FreeSome(kStepEntries)) databases_.push_back(std::move(detached));
}

void Reclaimer::Add(Entry* entry) { EntryOps::Free(entry); }

void Reclaimer::Step() {
  if (!databases_.empty() && !databases_.front()->FreeSome(kStepEntries)) databases_.pop_front();
}

uint64_t Reclaimer::bytes() const {
  uint64_t sum = 0;
  for (const auto& db : databases_) sum += db->bytes();
  return sum;
}

}  // namespace skein::storage
