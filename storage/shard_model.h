// Random effects on a shard beside a plain map, under a clock that the test moves.
#ifndef SKEIN_STORAGE_SHARD_MODEL_H_
#define SKEIN_STORAGE_SHARD_MODEL_H_

#include <iterator>
#include <map>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "storage/keyspace.h"
#include "storage/shard.h"

namespace skein::storage {

struct ModelValue {
  std::string value;
  UnixMillis expire_at = kNoExpiry;
};

class Model {
 public:
  Model(uint32_t seed, uint32_t databases, int keys, Shard* shard)
      : random_(seed), databases_(databases), keys_(keys), shard_(*shard), data_(databases) {}

  void Step() {
    if (Roll(4) == 0) now_ += Roll(20);
    shard_.Begin(now_);
    const int effects = 1 + Roll(3);
    for (int i = 0; i < effects; ++i) Effect();
    shard_.End();
  }

  void CheckAll() {
    shard_.Begin(now_);
    for (uint32_t db = 0; db < databases_; ++db) {
      for (int i = 0; i < keys_; ++i) Check(db, Name(i));
      Expire(db);
      ASSERT_EQ(shard_.KeyCount(db), data_[db].size());
      uint64_t expiring = 0;
      for (const auto& [key, v] : data_[db]) expiring += v.expire_at != kNoExpiry;
      ASSERT_EQ(shard_.ExpiringKeyCount(db), expiring);
    }
    shard_.End();
  }

  UnixMillis now() const { return now_; }
  void Pass(UnixMillis milliseconds) { now_ += milliseconds; }

 private:
  static constexpr int kDelete = 600;  // the first roll that deletes
  using Data = std::unordered_map<std::string, ModelValue>;

  int Roll(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  static std::string Name(int i) {
    // Short, long, and very long names; every other one in the same slot, whose table grows and shrinks.
    std::string name = (i % 2 == 0 ? "key:" : "{t}:") + std::to_string(i);
    if (i % 50 == 0) name += std::string(300, 'k');
    return name;
  }
  std::string RandomValue() {
    switch (Roll(5)) {
      case 0:
        return std::to_string(static_cast<int64_t>(random_()) - (int64_t{1} << 31));
      case 1:
        // Some of them long enough to be shared with a snapshot.
        return std::string(static_cast<size_t>(Roll(Roll(8) == 0 ? 10000 : 2000)), static_cast<char>('A' + Roll(26)));
      default:
        return std::string(static_cast<size_t>(Roll(64)), static_cast<char>('a' + Roll(26)));
    }
  }
  UnixMillis RandomExpiry() { return Roll(3) == 0 ? now_ + 1 + Roll(2000) : kNoExpiry; }

  // The model's live value, with expired ones taken out.
  ModelValue* Live(uint32_t db, const std::string& key) {
    const auto it = data_[db].find(key);
    if (it == data_[db].end()) return nullptr;
    if (it->second.expire_at != kNoExpiry && now_ > it->second.expire_at) {
      data_[db].erase(it);
      return nullptr;
    }
    return &it->second;
  }
  void Expire(uint32_t db) {
    for (auto it = data_[db].begin(); it != data_[db].end();) {
      const bool gone = it->second.expire_at != kNoExpiry && now_ > it->second.expire_at;
      it = gone ? data_[db].erase(it) : std::next(it);
    }
  }

  void Check(uint32_t db, const std::string& key) {
    const ModelValue* want = Live(db, key);
    const Entry* got = shard_.Find(db, key);
    ASSERT_EQ(got != nullptr, want != nullptr) << key;
    if (got == nullptr) return;
    IntText scratch;
    ASSERT_EQ(got->string(&scratch), want->value);
    ASSERT_EQ(got->string_size(), want->value.size());
    ASSERT_EQ(got->expire_at(), want->expire_at);
    ASSERT_EQ(got->key(), key);
  }

  void Effect() {
    const auto db = static_cast<uint32_t>(Roll(static_cast<int>(databases_)));
    const std::string key = Name(Roll(keys_));
    const std::string other = Name(Roll(keys_));
    Check(db, key);
    Check(db, other);
    ModelValue* value = Live(db, key);
    // In turn keys come until most are there, and go until most are not.
    const bool shrinking = ++effects_ / (5 * keys_) % 2 == 1;
    const int roll = shrinking && Roll(8) != 0 ? kDelete : Roll(1000);
    if (roll < 300) {
      const std::string text = RandomValue();
      const UnixMillis at = RandomExpiry();
      shard_.SetString(db, key, text, at, "set");
      data_[db][key] = {text, at};
    } else if (roll < 400) {
      const std::string text = RandomValue();
      shard_.SetStringKeepExpiry(db, key, text, "set");
      data_[db][key].value = text;
    } else if (roll < 450) {
      const auto number = static_cast<int64_t>(random_());
      shard_.SetInteger(db, key, number, "incrby");
      data_[db][key].value = std::to_string(number);
    } else if (roll < 550) {
      const std::string suffix = RandomValue();
      ModelValue& v = data_[db][key];
      v.value += suffix;
      ASSERT_EQ(shard_.AppendString(db, key, suffix), v.value.size());
      if (v.value.size() > 20000) {
        ASSERT_TRUE(shard_.Delete(db, key, "del", true));
        data_[db].erase(key);
      }
    } else if (roll < kDelete) {
      const auto offset = static_cast<size_t>(Roll(700));
      const std::string bytes = RandomValue();
      ModelValue& v = data_[db][key];
      if (v.value.size() < offset + bytes.size()) v.value.resize(offset + bytes.size());
      v.value.replace(offset, bytes.size(), bytes);
      ASSERT_EQ(shard_.SetRange(db, key, offset, bytes), v.value.size());
    } else if (roll < 750) {
      ASSERT_EQ(shard_.Delete(db, key, "del", Roll(2) == 0), value != nullptr);
      data_[db].erase(key);
    } else if (roll < 820) {
      if (value == nullptr) return;
      value->expire_at = now_ + Roll(1000);
      shard_.SetExpiry(db, key, value->expire_at);
    } else if (roll < 860) {
      ASSERT_EQ(shard_.ClearExpiry(db, key), value != nullptr && value->expire_at != kNoExpiry);
      if (value != nullptr) value->expire_at = kNoExpiry;
    } else if (roll < 900) {
      if (value == nullptr || key == other) return;
      shard_.Rename(db, key, other);
      data_[db][other] = *value;
      data_[db].erase(key);
    } else if (roll < 930) {
      const auto to = static_cast<uint32_t>(Roll(static_cast<int>(databases_)));
      if (value == nullptr || to == db) return;
      shard_.Find(to, key);
      if (Live(to, key) != nullptr) return;
      shard_.Move(db, key, to);
      data_[to][key] = *value;
      data_[db].erase(key);
    } else if (roll < 960) {
      const auto to = static_cast<uint32_t>(Roll(static_cast<int>(databases_)));
      if (value == nullptr || (to == db && key == other)) return;
      shard_.Copy(db, key, to, other);
      const ModelValue copy = *value;
      data_[to][other] = copy;
    } else if (roll < 990) {
      shard_.ExpireSome(1 + static_cast<uint32_t>(Roll(30)));
    } else if (roll < 996) {
      const auto to = static_cast<uint32_t>(Roll(static_cast<int>(databases_)));
      shard_.SwapDb(db, to);
      std::swap(data_[db], data_[to]);
    } else if (roll < 999 || Roll(4) != 0) {
      if (Roll(10) != 0) return;
      const uint64_t held = shard_.KeyCount(db);
      ASSERT_EQ(shard_.FlushDb(db, Roll(2) == 0), held);
      data_[db].clear();
    } else {
      shard_.FlushAll(Roll(2) == 0);
      for (Data& data : data_) data.clear();
    }
  }

  std::mt19937 random_;
  const uint32_t databases_;
  const int keys_;
  Shard& shard_;
  std::vector<Data> data_;
  int effects_ = 0;
  UnixMillis now_ = 1'700'000'000'000;
};

// What the allocator gave to what a shard holds, counted one by one.
inline uint64_t EntryBytes(const Shard& shard) {
  uint64_t sum = 0;
  for (uint32_t db = 0; db < shard.databases(); ++db) {
    std::map<std::string, uint64_t> seen;
    uint64_t cursor = 0;
    do {
      cursor = shard.Scan(db, cursor, 100, kNoSlot,
                          [&](const Entry& entry) { seen[std::string(entry.key())] = entry.memory_usage(); });
    } while (cursor != 0);
    for (const auto& [key, bytes] : seen) sum += bytes;
  }
  return sum;
}

// What used_bytes must say once nothing waits to be freed.
inline uint64_t UsedBytesOf(Shard* shard) {
  uint64_t sum = EntryBytes(*shard);
  for (uint32_t i = 0; i < shard->databases(); ++i) {
    const Database& db = shard->keyspace().db(i);
    sum += db.context().bytes + db.index_context().bytes;
  }
  return sum;
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SHARD_MODEL_H_
