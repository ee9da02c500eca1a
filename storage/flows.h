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
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log_feed.h"
#include "storage/lost_records.h"
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

  // ---- A loser's end
  // -------------------------------------------------------------------------------------------------- Keeps the
  // records from `from`, where the shard's log parts from the new primary's, to `to`, its end, aside before they are
  // cut (CutTo, BeginReload). `done` comes on another thread; without files at once, with nothing kept. Kick has been
  // called.
  using LostDone = std::function<void(absl::StatusOr<LostRecords>)>;
  virtual void SetLostRecordsAside(uint32_t shard, Lsn from, Lsn to, LostDone done) = 0;
  // The shard's thread. Cuts the log at `lsn`, where a record starts: its tables are built anew from the base and the
  // records before it. `done` comes on the shard's thread: then its log ends there, follows, and may be followed on.
  // Until then, and after an error, the shard is as in a reload (loading, without a log). NotFound, at once and with
  // nothing changed, if there is no base at or below it: only a reload helps.
  virtual absl::Status CutTo(Shard* shard, Lsn lsn, Done done) = 0;

  // ---- While the log is switched
  // Whether it is, now: no shard is cut or replaced meanwhile. CutTo and BeginReload answer Unavailable, at once and
  // with nothing changed. Any thread.
  virtual bool switching() const = 0;

  // ---- Rewrites
  // ------------------------------------------------------------------------------------------------------- How far the
  // replica that knows most of this shard has made it durable; nullopt: there is none. While there is one, a rewrite's
  // base waits for it (10 seconds at most) before it takes the place of the files before it, so that a loser finds a
  // base below the common point. Any thread.
  virtual void SetReplicated(uint32_t shard, std::optional<Lsn> durable) = 0;

  // ---- The replica's end; the shard's thread
  // -------------------------------------------------------------------------- Empties the shard and fills it from a
  // base that is fed to it. See ShardReload. At most one a shard: one before that has not ended is cancelled.
  virtual absl::StatusOr<std::unique_ptr<ShardReload>> BeginReload(Shard* shard, ShardReload::Callbacks callbacks) = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_FLOWS_H_
