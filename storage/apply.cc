// Applying the body of a record: RESP arrays, each one effect. The whole body is checked before anything changes.
#include <array>
#include <string>

#include "storage/shard.h"

namespace skein::storage {
namespace {

constexpr size_t kMaxArguments = 8;
// The longest string that SETRANGE may make: a guard against a damaged number, above every configurable limit.
constexpr int64_t kMaxStringSize = int64_t{1} << 32;

struct Arguments {
  std::array<std::string_view, kMaxArguments> values;
  size_t count = 0;
};

// Reads RESP arrays of bulk strings. Every length has one form: no sign, no leading zeros.
class BodyReader {
 public:
  explicit BodyReader(std::string_view body) : body_(body) {}

  bool done() const { return at_ == body_.size(); }
  size_t position() const { return at_; }

  bool Next(Arguments* arguments) {
    uint64_t count;
    if (!Number('*', &count) || count == 0 || count > kMaxArguments) return false;
    arguments->count = count;
    for (size_t i = 0; i < count; ++i) {
      uint64_t size;
      if (!Number('$', &size)) return false;
      const size_t left = body_.size() - at_;
      if (size > left || left - size < 2) return false;
      arguments->values[i] = body_.substr(at_, size);
      at_ += size;
      if (body_[at_] != '\r' || body_[at_ + 1] != '\n') return false;
      at_ += 2;
    }
    return true;
  }

 private:
  bool Number(char prefix, uint64_t* number) {
    constexpr size_t kMaxDigits = 10;
    if (at_ == body_.size() || body_[at_] != prefix) return false;
    const size_t end = body_.find('\r', at_);
    if (end == std::string_view::npos || end + 1 == body_.size() || body_[end + 1] != '\n') return false;
    const std::string_view digits = body_.substr(at_ + 1, end - at_ - 1);
    int64_t value;
    if (digits.size() > kMaxDigits || !ParseCanonicalInteger(digits, &value) || value < 0) return false;
    *number = static_cast<uint64_t>(value);
    at_ = end + 2;
    return true;
  }

  std::string_view body_;
  size_t at_ = 0;
};

enum class Verb {
  kSet,
  kSetAt,
  kSetKeep,
  kAppend,
  kSetRange,
  kDel,
  kExpireAt,
  kPersist,
  kRename,
  kMove,
  kCopy,
  kFlushDb,
  kFlushAll,
  kSwapDb
};

}  // namespace

struct Shard::Effect {
  Verb verb;
  uint32_t db;
  Key key;
  std::string_view text;  // value or second key
  int64_t number = 0;     // time, offset or database
};

absl::Status Shard::ParseRecord(uint32_t db, std::string_view body, std::vector<Effect>* effects) const {
  BodyReader reader(body);
  if (db >= databases())
    return absl::DataLossError("record of database " + std::to_string(db) + ", which does not exist");
  if (reader.done()) return absl::DataLossError("record with an empty body");
  const auto is_database = [&](std::string_view text, int64_t* number) {
    return ParseCanonicalInteger(text, number) && *number >= 0 && *number < databases();
  };
  while (!reader.done()) {
    const size_t start = reader.position();
    const auto bad = [&](const std::string& why) {
      return absl::DataLossError("record body, byte " + std::to_string(start) + ": " + why);
    };
    Arguments arguments;
    if (!reader.Next(&arguments)) return bad("malformed RESP");
    const auto& arg = arguments.values;
    const size_t n = arguments.count;
    const std::string_view name = arg[0];
    Effect effect{Verb::kSet, db, Key({}, kNoSlot), n > 2 ? arg[2] : std::string_view(), 0};
    bool known = true;
    int keys = 1;
    if (name == "SET" && n == 3) {
      effect.verb = Verb::kSet;
    } else if (name == "SET" && n == 4 && arg[3] == "KEEPTTL") {
      effect.verb = Verb::kSetKeep;
    } else if (name == "SET" && n == 5 && arg[3] == "PXAT") {
      effect.verb = Verb::kSetAt;
      if (!ParseCanonicalInteger(arg[4], &effect.number) || effect.number < 0) return bad("malformed expiry");
    } else if (name == "APPEND" && n == 3) {
      effect.verb = Verb::kAppend;
    } else if (name == "SETRANGE" && n == 4) {
      effect.verb = Verb::kSetRange;
      effect.text = arg[3];
      if (!ParseCanonicalInteger(arg[2], &effect.number) || effect.number < 0 || effect.number > kMaxStringSize) {
        return bad("malformed offset");
      }
    } else if (name == "DEL" && n == 2) {
      effect.verb = Verb::kDel;
    } else if (name == "PEXPIREAT" && n == 3) {
      effect.verb = Verb::kExpireAt;
      if (!ParseCanonicalInteger(arg[2], &effect.number) || effect.number < 0) return bad("malformed expiry");
    } else if (name == "PERSIST" && n == 2) {
      effect.verb = Verb::kPersist;
    } else if (name == "RENAME" && n == 3) {
      effect.verb = Verb::kRename;
      keys = 2;
    } else if (name == "MOVE" && n == 3) {
      effect.verb = Verb::kMove;
      if (!is_database(arg[2], &effect.number)) return bad("no such database");
    } else if (name == "COPY" && n == 6 && arg[3] == "DB" && arg[5] == "REPLACE") {
      effect.verb = Verb::kCopy;
      keys = 2;
      if (!is_database(arg[4], &effect.number)) return bad("no such database");
    } else if (name == "FLUSHDB" && n == 1) {
      effect.verb = Verb::kFlushDb;
      keys = 0;
    } else if (name == "FLUSHALL" && n == 1) {
      effect.verb = Verb::kFlushAll;
      keys = 0;
    } else if (name == "SWAPDB" && n == 3) {
      effect.verb = Verb::kSwapDb;
      keys = 0;
      int64_t first;
      if (!is_database(arg[1], &first) || !is_database(arg[2], &effect.number)) return bad("no such database");
      effect.db = static_cast<uint32_t>(first);
    } else if (name == "SELECT" && n == 2) {
      int64_t number;
      if (!is_database(arg[1], &number)) return bad("no such database");
      db = static_cast<uint32_t>(number);
      continue;
    } else {
      known = false;
    }
    if (!known)
      return bad("unknown effect '" + std::string(name.substr(0, 32)) + "' with " + std::to_string(n - 1) +
                 " arguments");
    if (keys > 0) effect.key = Key(arg[1]);
    const auto is_ours = [&](uint16_t slot) { return slot % options_.count == options_.index; };
    if ((keys > 0 && !is_ours(effect.key.slot)) || (keys > 1 && !is_ours(KeySlot(effect.text)))) {
      return bad("a key of another shard than " + std::to_string(options_.index) + " of " +
                 std::to_string(options_.count));
    }
    effects->push_back(effect);
  }
  return absl::OkStatus();
}

void Shard::ApplyEffect(const Effect& effect) {
  const uint32_t db = effect.db;
  switch (effect.verb) {
    case Verb::kSet:
      SetString(db, effect.key, effect.text, kNoExpiry, "set");
      break;
    case Verb::kSetAt:
      SetString(db, effect.key, effect.text, effect.number, "set");
      break;
    case Verb::kSetKeep:
      SetStringKeepExpiry(db, effect.key, effect.text, "set");
      break;
    case Verb::kAppend:
      AppendString(db, effect.key, effect.text);
      break;
    case Verb::kSetRange:
      SetRange(db, effect.key, static_cast<size_t>(effect.number), effect.text);
      break;
    case Verb::kDel:
      Delete(db, effect.key, "del", /*lazy=*/true);
      break;
    case Verb::kExpireAt:
      SetExpiry(db, effect.key, effect.number);
      break;
    case Verb::kPersist:
      ClearExpiry(db, effect.key);
      break;
    case Verb::kRename:
      Rename(db, effect.key, effect.text);
      break;
    case Verb::kMove:
      Move(db, effect.key, static_cast<uint32_t>(effect.number));
      break;
    case Verb::kCopy:
      Copy(db, effect.key, static_cast<uint32_t>(effect.number), effect.text);
      break;
    case Verb::kFlushDb:
      FlushDb(db, /*lazy=*/true);
      break;
    case Verb::kFlushAll:
      FlushAll(/*lazy=*/true);
      break;
    case Verb::kSwapDb:
      SwapDb(db, static_cast<uint32_t>(effect.number));
      break;
  }
}

absl::Status Shard::ApplyRecord(uint32_t db, UnixMillis time, std::string_view body) {
  const RecordRef record{db, time, body};
  size_t applied;
  return ApplyRecords({&record, 1}, &applied);
}

absl::Status Shard::ApplyRecords(std::span<const RecordRef> records, size_t* applied) {
  thread_local std::vector<Effect> effects;
  thread_local std::vector<size_t> ends;  // of each record's effects
  effects.clear();
  ends.clear();
  absl::Status status;
  for (const RecordRef& record : records) {
    if (status = ParseRecord(record.db, record.body, &effects); !status.ok()) break;
    ends.push_back(effects.size());
  }
  *applied = ends.size();
  // Of a record that is malformed nothing is applied.
  effects.erase(effects.begin() + static_cast<ptrdiff_t>(ends.empty() ? 0 : ends.back()), effects.end());
  if (records.size() > 1) {
    for (int stage = 0; stage < 3; ++stage) {
      for (const Effect& effect : effects) {
        if (effect.key.slot != kNoSlot) Prefetch(effect.db, effect.key, stage);
      }
    }
  }
  applying_ = true;
  size_t at = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    now_ = records[i].time;
    for (; at < ends[i]; ++at) ApplyEffect(effects[at]);
  }
  applying_ = false;
  return status;
}

}  // namespace skein::storage
