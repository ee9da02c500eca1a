// What a shard must hold after each of its records: random commands, run on a shard and on a plain map alike.
//
// Thread: the loop that hosts the shard; other threads once it has ended.
#ifndef SKEIN_TESTS_CRASH_POWER_MODEL_H_
#define SKEIN_TESTS_CRASH_POWER_MODEL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "storage/shard.h"

namespace skein::storage {

class ShardModel {
 public:
  struct Held {
    std::string value;
    UnixMillis expire_at = kNoExpiry;
    bool operator==(const Held&) const = default;
  };
  using State = std::map<std::pair<uint32_t, std::string>, Held>;

  // Keys of this shard's slots, several slots.
  ShardModel(uint32_t index, uint32_t count);

  // Runs one command of one to three effects, which is one record or none.
  void RunOne(Shard* shard, std::mt19937_64* rng);

  // The records since the last CutTo.
  size_t records() const { return records_.size(); }
  // How many records end at or before `lsn`.
  size_t RecordsUpTo(Lsn lsn) const;
  State StateAfter(size_t records) const;
  // The crash left the first `records` of them, which from now on are there for good; the others never were.
  void CutTo(size_t records);

  // What a shard holds.
  static State StateOf(const Shard& shard);
  // Empty if equal, else where they differ, for a person.
  static std::string Difference(const State& want, const State& found);

 private:
  using Change = std::function<void(State*)>;
  struct Record {
    Lsn end;
    std::vector<Change> changes;
  };

  void Effect(Shard* shard, std::mt19937_64* rng, std::vector<Change>* changes);
  void Write(Shard* shard, uint32_t db, const std::string& key, std::mt19937_64* rng, std::vector<Change>* changes);
  void KeyspaceEffect(Shard* shard, std::mt19937_64* rng, std::vector<Change>* changes);

  std::vector<std::string> keys_;
  std::vector<Record> records_;
  State base_;  // after the records of lives that are settled
  State now_;
  UnixMillis clock_ = 1'700'000'000'000;
};

}  // namespace skein::storage

#endif  // SKEIN_TESTS_CRASH_POWER_MODEL_H_
