#include "tests/crash/power_model.h"

#include <algorithm>
#include <cstring>

#include "glog/logging.h"
#include "storage/slot.h"

namespace skein::storage {
namespace {

constexpr size_t kKeys = 10;
constexpr uint32_t kDatabases = 2;  // that commands use
constexpr UnixMillis kLater = 1'000'000'000;

std::string RandomValue(std::mt19937_64* rng) {
  const uint64_t kind = (*rng)() % 40;
  const size_t size = kind == 0 ? (*rng)() % 20000 : kind < 20 ? (*rng)() % 12 : (*rng)() % 200;
  return std::string(size, static_cast<char>('a' + (*rng)() % 26));
}

}  // namespace

ShardModel::ShardModel(uint32_t index, uint32_t count) {
  for (uint32_t n = 0; keys_.size() < kKeys; ++n) {
    std::string key = "key:" + std::to_string(n);
    if (KeySlot(key) % count == index) keys_.push_back(std::move(key));
  }
}

void ShardModel::RunOne(Shard* shard, std::mt19937_64* rng) {
  Record record;
  shard->Begin(++clock_);
  for (uint64_t left = 1 + (*rng)() % 3; left > 0; --left) Effect(shard, rng, &record.changes);
  record.end = shard->End();
  CHECK_EQ(record.end == 0, record.changes.empty()) << "a record without a change, or a change without one";
  if (record.end != 0) records_.push_back(std::move(record));
}

void ShardModel::Effect(Shard* shard, std::mt19937_64* rng, std::vector<Change>* changes) {
  const size_t before = changes->size();
  const uint32_t db = static_cast<uint32_t>((*rng)() % 8 == 0);
  const std::string& key = keys_[(*rng)() % keys_.size()];
  if ((*rng)() % 4 == 0) {
    KeyspaceEffect(shard, rng, changes);
  } else {
    Write(shard, db, key, rng, changes);
  }
  for (size_t i = before; i < changes->size(); ++i) (*changes)[i](&now_);
}

void ShardModel::Write(Shard* shard, uint32_t db, const std::string& key, std::mt19937_64* rng,
                       std::vector<Change>* changes) {
  const std::pair<uint32_t, std::string> at(db, key);
  const auto held = now_.find(at);
  const bool there = held != now_.end();
  const UnixMillis later = clock_ + kLater + static_cast<UnixMillis>((*rng)() % 1000);
  switch ((*rng)() % 8) {
    case 0: {
      const int64_t number = static_cast<int64_t>((*rng)() % 100'000) - 50'000;
      shard->SetInteger(db, key, number, "incrby");
      changes->push_back([at, number](State* s) { (*s)[at].value = std::to_string(number); });
      return;
    }
    case 1: {
      const std::string suffix = "+" + RandomValue(rng);
      shard->AppendString(db, key, suffix);
      changes->push_back([at, suffix](State* s) { (*s)[at].value += suffix; });
      return;
    }
    case 2: {
      const size_t offset = (*rng)() % 300;
      const std::string bytes = "<" + RandomValue(rng) + ">";
      shard->SetRange(db, key, offset, bytes);
      changes->push_back([at, offset, bytes](State* s) {
        std::string& value = (*s)[at].value;
        value.resize(std::max(value.size(), offset + bytes.size()));
        value.replace(offset, bytes.size(), bytes);
      });
      return;
    }
    case 3: {
      if (!there) break;
      CHECK(shard->Delete(db, key, "del", (*rng)() % 2 == 0));
      changes->push_back([at](State* s) { s->erase(at); });
      return;
    }
    case 4: {
      if (!there) break;
      shard->SetExpiry(db, key, later);
      changes->push_back([at, later](State* s) { (*s)[at].expire_at = later; });
      return;
    }
    case 5: {
      if (!there || held->second.expire_at == kNoExpiry) break;
      CHECK(shard->ClearExpiry(db, key));
      changes->push_back([at](State* s) { (*s)[at].expire_at = kNoExpiry; });
      return;
    }
    case 6: {
      const std::string value = RandomValue(rng);
      shard->SetStringKeepExpiry(db, key, value, "set");
      changes->push_back([at, value](State* s) { (*s)[at].value = value; });
      return;
    }
    default:
      break;
  }
  const std::string value = RandomValue(rng);
  const UnixMillis expire_at = (*rng)() % 4 == 0 ? later : kNoExpiry;
  shard->SetString(db, key, value, expire_at, "set");
  changes->push_back([at, value, expire_at](State* s) { (*s)[at] = {value, expire_at}; });
}

void ShardModel::KeyspaceEffect(Shard* shard, std::mt19937_64* rng, std::vector<Change>* changes) {
  const uint32_t db = static_cast<uint32_t>((*rng)() % kDatabases);
  const std::string& from = keys_[(*rng)() % keys_.size()];
  const std::string& to = keys_[(*rng)() % keys_.size()];
  const std::pair<uint32_t, std::string> source(db, from);
  const bool there = now_.contains(source);
  const uint64_t kind = (*rng)() % 16;
  if (kind == 0) {
    // An empty database too: the record says so all the same.
    shard->FlushDb(db, (*rng)() % 2 == 0);
    changes->push_back(
        [db](State* s) { std::erase_if(*s, [db](const auto& held) { return held.first.first == db; }); });
  } else if (kind == 1) {
    shard->SwapDb(0, 1);
    changes->push_back([](State* s) {
      State swapped;
      for (auto& [at, held] : *s) swapped[{at.first < 2 ? 1 - at.first : at.first, at.second}] = std::move(held);
      *s = std::move(swapped);
    });
  } else if (kind < 6 && there && !now_.contains({1 - db, from})) {
    shard->Move(db, from, 1 - db);
    changes->push_back([source, db](State* s) {
      (*s)[{1 - db, source.second}] = (*s)[source];
      s->erase(source);
    });
  } else if (kind < 11 && there && from != to) {
    shard->Rename(db, from, to);
    changes->push_back([source, to](State* s) {
      Held held = (*s)[source];
      s->erase(source);
      (*s)[{source.first, to}] = std::move(held);
    });
  } else if (there && from != to) {
    const uint32_t to_db = static_cast<uint32_t>((*rng)() % kDatabases);
    shard->Copy(db, from, to_db, to);
    changes->push_back([source, to, to_db](State* s) { (*s)[{to_db, to}] = Held((*s)[source]); });
  }
}

size_t ShardModel::RecordsUpTo(Lsn lsn) const {
  const auto after =
      std::upper_bound(records_.begin(), records_.end(), lsn, [](Lsn at, const Record& r) { return at < r.end; });
  return static_cast<size_t>(after - records_.begin());
}

ShardModel::State ShardModel::StateAfter(size_t records) const {
  State state = base_;
  for (size_t i = 0; i < records; ++i) {
    for (const Change& change : records_[i].changes) change(&state);
  }
  return state;
}

void ShardModel::CutTo(size_t records) {
  base_ = now_ = StateAfter(records);
  records_.clear();
}

ShardModel::State ShardModel::StateOf(const Shard& shard) {
  State state;
  for (uint32_t db = 0; db < shard.databases(); ++db) {
    uint64_t cursor = 0;
    do {
      cursor = shard.Scan(db, cursor, 1000, kNoSlot, [&](const Entry& entry) {
        IntText scratch;
        state[{db, std::string(entry.key())}] = {std::string(entry.string(&scratch)), entry.expire_at()};
      });
    } while (cursor != 0);
  }
  return state;
}

std::string ShardModel::Difference(const State& want, const State& found) {
  const auto text = [](const State& state, const State::key_type& at) {
    const auto it = state.find(at);
    if (it == state.end()) return std::string("nothing");
    const std::string& value = it->second.value;
    return "'" + value.substr(0, 30) + (value.size() > 30 ? "…" : "") + "' (" + std::to_string(value.size()) +
           " bytes, until " + std::to_string(it->second.expire_at) + ")";
  };
  for (const State* side : {&want, &found}) {
    for (const auto& [at, held] : *side) {
      const auto mine = want.find(at);
      const auto theirs = found.find(at);
      if (mine != want.end() && theirs != found.end() && mine->second == theirs->second) continue;
      return "database " + std::to_string(at.first) + ", " + at.second + ": found " + text(found, at) + ", want " +
             text(want, at);
    }
  }
  return "";
}

}  // namespace skein::storage
