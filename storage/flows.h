// What replication works with: an open data set's logs, read, followed and replaced. Of a data set that serves
// (DataSet::flows).
//
// Source: DESIGN "Replication, failover, migration". Bytes that travel are records and bases as storage/FORMAT.md has
// them.
#ifndef SKEIN_STORAGE_FLOWS_H_
#define SKEIN_STORAGE_FLOWS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log_feed.h"
#include "storage/record.h"
#include "storage/shard_reload.h"
#include "storage/snapshot_stream.h"
#include "storage/types.h"

namespace skein::storage {

class Flows {
 public:
  virtual ~Flows() = default;
  using Done = std::function<void(const absl::Status&)>;

  // ---- Any thread ---------------------------------------------------------------------------------------------------
  // Gives logs in memory to the shards that have none (appendonly no): with a new reign, unless `follow`. `done` comes
  // on some shard's thread once all have one. They stay until the data set ends, or a log with files takes their place.
  virtual void StartMemoryLogs(bool follow, Done done) = 0;
  // After Log::BeginReign of every shard: makes each log durable up to ends[shard] (what BeginReign returned; 0: not
  // begun) and lists the reigns, in the background. `done` comes on another thread. With logs in memory: at once.
  virtual void ListReigns(std::vector<Lsn> ends, Done done) = 0;

  // ---- The primary's end; threads that may wait
  // ---------------------------------------------------------------------- Reads records from `from` on out of the incr
  // files. NotFound if they do not reach back so far, or there are none.
  virtual absl::StatusOr<std::unique_ptr<LogFeed>> OpenFeed(uint32_t shard, Lsn from) = 0;
  // Begins a snapshot of a shard, or queues up for one. See SnapshotStream. Any thread.
  virtual std::unique_ptr<SnapshotStream> StreamSnapshot(uint32_t shard, SnapshotStream::OnBegin on_begin) = 0;

  // ---- The replica's end; the shard's thread
  // -------------------------------------------------------------------------- Empties the shard and fills it from a
  // base that is fed to it. See ShardReload. At most one a shard: one before that has not ended is cancelled.
  virtual std::unique_ptr<ShardReload> BeginReload(Shard* shard, ShardReload::Callbacks callbacks) = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_FLOWS_H_
