#include "storage/snapshot_stream.h"

#include <utility>

#include "storage/base_head.h"
#include "storage/log.h"
#include "storage/wall_clock.h"

namespace skein::storage {
namespace {

// What Next gives back at least, but at the end.
constexpr size_t kPiece = size_t{64} << 10;

absl::Status NoLog() { return absl::FailedPreconditionError("the shard has no log"); }

}  // namespace

SnapshotStream::SnapshotStream(Env env)
    : env_(std::move(env)),
      budget_(std::make_shared<SnapshotBudget>(env_.save.buffer_limit, env_.on_room)),
      queue_(std::make_shared<SaveQueue>()),
      begun_(std::make_shared<Begun>()),
      encoder_({.compress = env_.compress, .checksum = true}, &out_) {
  env_.run_on_shard(
      env_.shard, [queue = queue_, budget = budget_, begun = begun_, on_begin = env_.on_begin](Shard& shard) {
        const auto tell = [&shard, queue, begun, on_begin](absl::StatusOr<SnapshotStart> start) {
          // Switched off while this one waited for another.
          const bool too_late = start.ok() && shard.log() == nullptr;
          if (too_late) start = NoLog();
          SaveQueue::Begun said;
          said.status = start.status();
          said.used_bytes = shard.used_bytes();
          said.time = WallClock();
          if (start.ok()) {
            for (const Reign& reign : shard.log()->history()) {
              if (reign.first_lsn < start->lsn) begun->history.push_back(reign);
            }
            said.start = *start;
          }
          if (on_begin && !queue->interrupted()) {
            on_begin(shard, start.ok() ? absl::StatusOr<Lsn>(start->lsn) : absl::StatusOr<Lsn>(start.status()));
          }
          queue->Tell(shard.index(), std::move(said));
          if (too_late) shard.CancelSnapshotOf(queue.get());
        };
        if (shard.log() == nullptr) return tell(NoLog());
        shard.QueueSnapshot({.budget = budget, .sink = queue}, tell);
      });
}

SnapshotStream::~SnapshotStream() {
  queue_->Interrupt();
  if (ended_) return;
  env_.run_on_shard(env_.shard, [queue = queue_](Shard& shard) { shard.CancelSnapshotOf(queue.get()); });
}

void SnapshotStream::Cancel() { queue_->Interrupt(); }

void SnapshotStream::Head(const SaveQueue::Begun& begun) {
  encoder_.Begin();
  encoder_.Aux("redis-ver", env_.save.redis_version);
  encoder_.Aux("redis-bits", std::to_string(sizeof(void*) * 8));
  encoder_.Aux("ctime", std::to_string(begun.time / 1000));
  encoder_.Aux("used-mem", std::to_string(begun.used_bytes));
  encoder_.Aux("aof-base", "1");
  WriteBaseHead({.shard = env_.shard,
                 .shard_count = env_.shards,
                 .lsn = begun.start.lsn,
                 .time = begun.time,
                 .history = begun_->history},
                &encoder_);
  for (const SnapshotStart::Db& db : begun.start.databases) encoder_.SizeHint(db.db, db.keys, db.expiring);
}

absl::StatusOr<std::string_view> SnapshotStream::Next() {
  out_.clear();
  while (!ended_ && out_.size() < kPiece) {
    SaveQueue::Event event = queue_->Next();
    if (queue_->interrupted()) return absl::CancelledError("the snapshot was cancelled");
    switch (event.kind) {
      case SaveQueue::Event::Kind::kInterrupt:
        return absl::CancelledError("the snapshot was cancelled");
      case SaveQueue::Event::Kind::kBegun:
        if (!event.begun.status.ok()) {
          ended_ = true;
          return event.begun.status;
        }
        Head(event.begun);
        break;
      case SaveQueue::Event::Kind::kChunk:
        event.chunk->ForEach([this](const RdbItem& item) { encoder_.Add(item); });
        keys_.fetch_add(event.chunk->keys(), std::memory_order_relaxed);
        break;
      case SaveQueue::Event::Kind::kEnd:
        ended_ = true;
        if (!event.status.ok()) return event.status;
        encoder_.End();
        break;
    }
  }
  return std::string_view(out_);
}

}  // namespace skein::storage
