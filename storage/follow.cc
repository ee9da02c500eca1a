#include "storage/follow.h"

#include <string>
#include <vector>

#include "storage/log.h"
#include "storage/records.h"

namespace skein::storage {

absl::Status FollowRecords(Shard* shard, std::string_view bytes) {
  Log* const log = shard->log();
  if (log == nullptr) return absl::FailedPreconditionError("the shard has no log");
  thread_local std::vector<RecordView> records;
  thread_local std::vector<Shard::RecordRef> data;
  records.clear();
  data.clear();
  const absl::Status taken = TakeRecords(bytes, log->end(), &records, nullptr);
  for (const RecordView& record : records) {
    if (record.header.kind == RecordKind::kData) data.push_back({record.header.db, record.header.time, record.body()});
  }
  size_t applied = 0;
  const absl::Status status = shard->ApplyRecords(data, &applied);
  // The bytes up to the first record that could not be applied, or was none.
  size_t whole = 0, seen = 0;
  for (const RecordView& record : records) {
    if (record.header.kind == RecordKind::kData && seen++ == applied) break;
    whole += record.bytes.size();
  }
  if (absl::Status appended = log->AppendRecords(bytes.substr(0, whole)); !appended.ok()) return appended;
  if (status.ok()) return taken;
  return absl::DataLossError("the record at LSN " + std::to_string(log->end()) + ": " + std::string(status.message()));
}

}  // namespace skein::storage
