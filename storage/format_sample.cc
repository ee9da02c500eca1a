// Writes small data sets into a folder and prints what it wrote, for format_test.sh to compare with what a reader in
// another language finds there: "log" has records alone, "state" every kind of effect, before bases and behind them.
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>

#include "glog/logging.h"
#include "storage/log_set.h"
#include "storage/record.h"
#include "storage/saver_testing.h"

namespace skein::storage {
namespace {

constexpr uint32_t kShards = 3;

class NoSink : public RecordSink {
 public:
  absl::Status Apply(uint32_t, UnixMillis, std::string_view) override { return absl::OkStatus(); }
};

void Append(Log* log, uint32_t shard, uint32_t db, uint16_t slot, int64_t time, std::string_view key,
            std::string_view value) {
  const Lsn start = log->end();
  log->AppendEffect(db, slot, {"SET", key, value});
  log->AppendEffect(db + 1, slot, {"DEL", key});
  const Lsn end = log->EndRecord(time);
  log->Kick();
  std::printf("shard %u lsn %llu end %llu db %u slot %u time %lld SET %s %zu | SELECT %u | DEL %s\n", shard,
              static_cast<unsigned long long>(start), static_cast<unsigned long long>(end), db, slot,
              static_cast<long long>(time), std::string(key).c_str(), value.size(), db + 1, std::string(key).c_str());
}

int WriteLog(const std::string& dir) {
  DataSetOptions options;
  options.dir = dir;
  options.append_only = true;
  options.fsync = AppendFsync::kAlways;
  options.shards = kShards;
  NoSink sink;
  for (int opening = 0; opening < 3; ++opening) {
    auto set = LogSet::Open(options);
    if (!set.ok() || !(*set)->Recover([&](uint32_t) { return &sink; }).ok()) return 1;
    for (int i = 0; i < 40; ++i) {
      const uint32_t shard = static_cast<uint32_t>(i) % 3;
      Append(&(*set)->log(shard), shard, static_cast<uint32_t>(i) % 10, static_cast<uint16_t>(i * 300),
             1'700'000'000'000 + i, "key:" + std::to_string(i), std::string(static_cast<size_t>(i * i * 10), 'v'));
    }
    if (!(*set)->Close().ok()) return 1;
  }
  return 0;
}

// A random command, one record of one to three effects.
void AnyCommand(Shard& shard, std::mt19937_64& rng) {
  constexpr UnixMillis kLater = 9'000'000'000'000;
  shard.Begin(1'700'000'000'000);
  for (uint64_t n = 1 + rng() % 3; n > 0; --n) {
    const uint32_t db = rng() % 3;
    // Two slots of each shard, which follow from the tags.
    const auto any_key = [&] {
      while (true) {
        std::string name = "{tag" + std::to_string(rng() % 12) + "}" + std::to_string(rng() % 8);
        if (Key(name).slot % kShards == shard.index()) return name;
      }
    };
    const std::string name = any_key(), other = any_key();
    const Key key(name), to(other);
    const bool there = shard.Find(db, key) != nullptr;
    const std::string value(rng() % 3 == 0 ? 200 : rng() % 30, static_cast<char>('a' + rng() % 26));
    const uint64_t kind = rng() % 40;
    if (kind == 0) {
      shard.FlushDb(db, false);
    } else if (kind == 1) {
      shard.SwapDb(0, 2);
    } else if (kind == 2 && rng() % 10 == 0) {
      shard.FlushAll(false);
    } else if (kind < 5 && there && shard.Find((db + 1) % 3, key) == nullptr) {
      shard.Move(db, key, (db + 1) % 3);
    } else if (kind < 8 && there && name != other) {
      shard.Rename(db, key, to);
    } else if (kind < 11 && there && name != other) {
      shard.Copy(db, key, (db + 2) % 3, to);
    } else if (kind < 14) {
      shard.AppendString(db, key, "+" + value);
    } else if (kind < 17) {
      shard.SetRange(db, key, rng() % 40, "<" + value + ">");
    } else if (kind < 20 && there) {
      shard.Delete(db, key, "del", false);
    } else if (kind < 23 && there) {
      shard.SetExpiry(db, key, kLater + static_cast<UnixMillis>(rng() % 1000));
    } else if (kind < 26 && there) {
      shard.ClearExpiry(db, key);
    } else if (kind < 29) {
      // Of each size that a base writes integers in.
      shard.SetInteger(db, key, static_cast<int64_t>(rng()) >> (rng() % 64), "incrby");
    } else {
      shard.SetString(db, key, value, rng() % 4 == 0 ? kLater : kNoExpiry, "set");
    }
  }
  shard.End();
}

void Commands(ServedData* data, std::mt19937_64* rng, int count) {
  for (uint32_t i = 0; i < kShards; ++i) {
    data->Run(i, [&](Shard& shard) {
      for (int n = 0; n < count; ++n) AnyCommand(shard, *rng);
    });
  }
}

int WriteState(const std::string& dir) {
  DataSetOptions options = ServedData::OptionsOn(RealFileSystem(), true, kShards);
  options.dir = dir;
  std::mt19937_64 rng(7);
  std::map<std::tuple<uint32_t, std::string>, std::pair<std::string, UnixMillis>> keys;
  for (int opening = 0; opening < 3; ++opening) {
    ServedData data(options);
    Commands(&data, &rng, 200);
    if (!data.Rewrite().ok()) return 1;
    Commands(&data, &rng, 200);
    keys.clear();
    for (uint32_t i = 0; i < kShards; ++i) {
      data.Run(i, [&](Shard& shard) {
        for (uint32_t db = 0; db < shard.databases(); ++db) {
          for (uint64_t cursor = 0, first = 1; cursor != 0 || first != 0; first = 0) {
            cursor = shard.Scan(db, cursor, 1000, kNoSlot, [&](const Entry& entry) {
              IntText scratch;
              keys[{db, std::string(entry.key())}] = {std::string(entry.string(&scratch)), entry.expire_at()};
            });
          }
        }
      });
    }
    if (!data.Close().ok()) return 1;
  }
  for (const auto& [at, held] : keys) {
    const auto& [value, expire_at] = held;
    std::printf("%u %s %lld %08x %zu\n", std::get<0>(at), std::get<1>(at).c_str(),
                expire_at == kNoExpiry ? -1LL : static_cast<long long>(expire_at), Crc32c(value), value.size());
  }
  std::printf("APPEND COPY DEL FLUSHALL FLUSHDB MOVE PERSIST PEXPIREAT RENAME SELECT SET SETRANGE SWAPDB\n");
  return 0;
}

}  // namespace
}  // namespace skein::storage

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string what = argv[1];
  return what == "log" ? skein::storage::WriteLog(argv[2]) : skein::storage::WriteState(argv[2]);
}
