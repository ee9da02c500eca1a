// Writes a small data set into a folder and prints what it wrote, for format_test.sh to compare with what a reader in
// another language finds there.
#include <cstdio>
#include <string>

#include "storage/log_set.h"

namespace {

using skein::storage::LogSet;
using skein::storage::Lsn;

class NoSink : public skein::storage::RecordSink {
 public:
  absl::Status Apply(uint32_t, skein::storage::UnixMillis, std::string_view) override { return absl::OkStatus(); }
};

void Append(skein::storage::Log* log, uint32_t shard, uint32_t db, uint16_t slot, int64_t time, std::string_view key,
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

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  skein::storage::DataSetOptions options;
  options.dir = argv[1];
  options.append_only = true;
  options.fsync = skein::storage::AppendFsync::kAlways;
  options.shards = 3;
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
