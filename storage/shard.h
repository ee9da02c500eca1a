// A storage shard: one partition of a node's data (`shard = slot mod count`), with its databases and its log.
//
// Thread: the loop that hosts it; nothing here is thread-safe. During recovery a recovery thread owns it.
//
// Everything that changes data goes through the effect methods below. An effect is deterministic (absolute times, no
// random choice); it changes the tables, appends itself to the open record of the log, and tells the observers, in that
// one place. Commands decide *which* effects; recovery and replicas apply the same effects from a record's body through
// `ApplyRecord`, so there is one code path that changes data.
#ifndef SKEIN_STORAGE_SHARD_H_
#define SKEIN_STORAGE_SHARD_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/entry.h"
#include "storage/rdb/item.h"
#include "storage/snapshot.h"
#include "storage/types.h"

namespace skein::storage {

class BackgroundFree;
class Keyspace;
class Log;
class Snapshot;  // the shard's side of a running one

// One change of one key, or of a whole database (`key` empty, slot kNoSlot), as observers see it.
struct Change {
  uint32_t db;
  uint16_t slot;
  std::string_view key;
  // The name of the keyspace event as Redis publishes it: "set", "del", "expire", "expired", "rename_from", "append", …
  std::string_view event;
  // Whether the key exists after the change.
  bool exists;
};

// The one mutation hook. Called on the shard's thread, after the change is in the tables and in the log buffer, before
// the command's reply leaves. Observers must not change the shard.
class MutationObserver {
 public:
  virtual ~MutationObserver() = default;
  virtual void OnChange(const Change& change) = 0;
};

struct ShardOptions {
  uint32_t index = 0;
  uint32_t count = 1;
  uint32_t databases = 16;
  // Frees flushed tables and large values on its thread; may serve many shards, and outlives them. Null: Housekeep
  // frees them in steps.
  BackgroundFree* background_free = nullptr;
};

class Shard {
 public:
  // `log` outlives the shard; null: nothing is logged and LSNs stay 0.
  Shard(const ShardOptions& options, Log* log);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  uint32_t index() const { return options_.index; }
  uint32_t databases() const { return options_.databases; }
  Log* log() const { return log_; }
  // From now on changes go to this one, whose LSNs go on from the other's; null: nowhere. Not inside a bracket.
  void SetLog(Log* log) { log_ = log; }
  void AddObserver(MutationObserver* observer);

  // ---- The bracket of a command -------------------------------------------------------------------------------------
  // Every command, and every slice of active expiry, runs between Begin and End. `now` is the command's clock: every
  // expiry decision inside it uses this one value. All effects inside one bracket are one record.
  // `admitted`: MayWrite has been asked. If not (a read), keys whose time has passed are not deleted while the snapshot
  // has no room, only reported absent.
  void Begin(UnixMillis now, bool admitted = true);
  // Closes the record. The end LSN of the record, or 0 if the command changed nothing.
  Lsn End();
  UnixMillis now() const { return now_; }

  // ---- Lookup
  // --------------------------------------------------------------------------------------------------------- Hints the
  // memory that Find(db, key) is going to touch. Call the stages in order over a whole pipelined batch: stage 0 table
  // header, 1 bucket, 2 entry. Never changes anything.
  void Prefetch(uint32_t db, const Key& key, int stage) const;

  // The live entry of `key`, or null. A key whose time has passed is deleted (effect DEL, event "expired") if this
  // shard decides expiry (see set_decides_expiry and Begin), and is reported absent in any case. `touch` updates access
  // data (LRU/LFU). The pointer is valid until the next effect on this key or End().
  enum class Touch : uint8_t { kYes, kNo };
  Entry* Find(uint32_t db, const Key& key, Touch touch = Touch::kYes);

  // Primaries and stand-alone nodes decide expiry; replicas wait for the primary's DEL. Default true.
  void set_decides_expiry(bool yes) { decides_expiry_ = deletes_expired_ = yes; }
  bool decides_expiry() const { return decides_expiry_; }

  // ---- Effects
  // -------------------------------------------------------------------------------------------------------- `event` is
  // the keyspace event name, for observers only; it is not logged. Body forms (what the log holds) in quotes.
  //
  // "SET key value [PXAT ms]": the key holds this string, of whatever type it was before. Integers that Redis would
  // store as such get the int encoding. With the event "set" and an expiry observers also see "expire", as in Redis.
  void SetString(uint32_t db, const Key& key, std::string_view value, UnixMillis expire_at, std::string_view event);
  // As SetString with a number; keeps the expiry. "SET key value KEEPTTL".
  void SetInteger(uint32_t db, const Key& key, int64_t value, std::string_view event);
  // Replaces the string and keeps the expiry. "SET key value KEEPTTL".
  void SetStringKeepExpiry(uint32_t db, const Key& key, std::string_view value, std::string_view event);
  // "APPEND key suffix". Returns the new length. The caller has checked type and size limit; creates the key.
  size_t AppendString(uint32_t db, const Key& key, std::string_view suffix);
  // "SETRANGE key offset bytes"; pads with zero bytes. Returns the new length.
  size_t SetRange(uint32_t db, const Key& key, size_t offset, std::string_view bytes);
  // "DEL key". False if there is no such key (expired ones count as there is none, but are deleted).
  // `lazy`: a large value may be freed on the background thread.
  bool Delete(uint32_t db, const Key& key, std::string_view event, bool lazy);
  // "PEXPIREAT key ms". The caller has made sure the key exists. A time in the past is the caller's to turn into
  // Delete.
  void SetExpiry(uint32_t db, const Key& key, UnixMillis at);
  // "PERSIST key". False if the key has no expiry.
  bool ClearExpiry(uint32_t db, const Key& key);
  // "RENAME from to": `from` exists; what `to` held goes; value and expiry move. Both in this shard. Nothing if equal.
  void Rename(uint32_t db, const Key& from, const Key& to);
  // "MOVE key db": `key` exists in db and not in `to_db`.
  void Move(uint32_t db, const Key& key, uint32_t to_db);
  // "COPY from to DB n REPLACE": a deep copy with the expiry. `from` exists and is not `to`.
  void Copy(uint32_t db, const Key& from, uint32_t to_db, const Key& to);
  // "FLUSHDB" / "FLUSHALL" of this shard. Tables are detached at once; freed in the background if `lazy`. Returns how
  // many keys went.
  uint64_t FlushDb(uint32_t db, bool lazy);
  uint64_t FlushAll(bool lazy);
  // "SWAPDB a b".
  void SwapDb(uint32_t a, uint32_t b);

  // Applies the body of a data record (see storage/FORMAT.md): RESP arrays, each an effect in the forms above, `db` the
  // record's database; "SELECT n" switches inside a record. Does not append to the log. An unknown effect or a
  // malformed body is DataLoss, and nothing of the record has been applied. An effect on a key that is not there
  // changes nothing. Not inside a Begin/End bracket; `time` is now() while it runs. Observers see the changes.
  absl::Status ApplyRecord(uint32_t db, UnixMillis time, std::string_view body);
  // The same for several records in order, whose memory is fetched beforehand. `*applied`: how many; after an error,
  // those before the malformed one.
  struct RecordRef {
    uint32_t db;
    UnixMillis time;
    std::string_view body;
  };
  absl::Status ApplyRecords(std::span<const RecordRef> records, size_t* applied);

  // ---- Snapshots (storage/snapshot.h) -------------------------------------------------------------------------------
  // Begins a snapshot of the state after the last record; not inside a bracket. FailedPrecondition if one is running.
  absl::StatusOr<SnapshotStart> BeginSnapshot(const SnapshotOptions& options);
  // The same as soon as no other is running: `begun` is called once, with how it went, now or later, outside of
  // brackets; `before` (may be null) immediately before it begins.
  void QueueSnapshot(SnapshotOptions options, std::function<void(absl::StatusOr<SnapshotStart>)> begun,
                     std::function<void(Shard&)> before = nullptr);
  // Ends that sink's snapshot, as CancelSnapshot; or takes it out of the queue: `begun` is called with Cancelled.
  void CancelSnapshotOf(const SnapshotSink* sink);
  // Saves about `entries` more. Call between commands until it says otherwise than kMore; after kFull, when the budget
  // has room again.
  SnapshotStep StepSnapshot(size_t entries);
  // Ends it: the sink's End is called with Cancelled. Nothing if none is running.
  void CancelSnapshot();
  bool snapshot_running() const { return snapshot_ != nullptr; }
  // Keys saved so far by the running snapshot; 0 without one.
  uint64_t snapshot_saved_keys() const;
  // Bytes that are only kept for the snapshot, and counted in used_bytes: detached databases not yet saved, and the
  // chunk that is being filled. (What its other chunks hold is its budget's.)
  uint64_t snapshot_kept_bytes() const;

  // Whether a write command may start: the log's word (Log::MayWrite: what has failed is said at once), then the
  // snapshot's (Unavailable "room" while twice its budget is on its way).
  absl::Status MayWrite() const {
    if (log_ == nullptr && snapshot_ == nullptr) return absl::OkStatus();
    return SlowMayWrite();
  }

  // While it is loading it holds a part of something: snapshots are refused with FailedPrecondition.
  void set_loading(bool yes) { loading_ = yes; }
  bool loading() const { return loading_; }
  // When the loading takes place: items that do not say when they were last used are taken to be used then.
  void set_loading_time(UnixMillis now) { now_ = now; }
  // Puts a key of a base or an RDB file into the tables: no log, no observers, whatever the key held goes. Not inside a
  // bracket. For recovery and import.
  void LoadItem(const RdbItem& item);
  // The same for several, whose memory is fetched beforehand.
  void LoadItems(std::span<const RdbItem> items);
  // Changes (effects on keys; FLUSHALL and FLUSHDB count each key) since start: what save points count.
  uint64_t changes() const { return changes_; }

  // ---- Expiry
  // --------------------------------------------------------------------------------------------------------- Deletes
  // keys whose time has passed, looking at `max_keys` at most. Inside a Begin/End bracket. Returns how many went and
  // whether more are known to be due. Never called on a shard that does not decide expiry.
  struct ExpireSlice {
    uint32_t expired;
    bool more_due;
  };
  ExpireSlice ExpireSome(uint32_t max_keys);

  // ---- Whole-keyspace reads ----------------------------------------------------------------------------------------
  uint64_t KeyCount(uint32_t db) const;  // expired but not yet deleted keys included, as in Redis
  uint64_t ExpiringKeyCount(uint32_t db) const;
  uint64_t AverageTtlMillis(uint32_t db) const;  // 0 if unknown
  uint64_t KeyCountInSlot(uint32_t db, uint16_t slot) const;
  // Up to `limit` keys of a slot.
  void KeysInSlot(uint32_t db, uint16_t slot, size_t limit, const std::function<void(std::string_view key)>& fn) const;
  // SCAN within this shard. `cursor` 0 starts; returns 0 at the end. Guarantee: a key present from the first call to
  // the last is delivered at least once, whatever grows or shrinks meanwhile. About `count` entries a call, bounded
  // work. `fn` must not change the shard; expired entries are delivered (the caller filters with IsExpired).
  // `only_slot`: kNoSlot for all. Cursors hold at most 48 bits.
  uint64_t Scan(uint32_t db, uint64_t cursor, size_t count, uint16_t only_slot,
                const std::function<void(const Entry& entry)>& fn) const;
  bool IsExpired(const Entry& entry) const;
  // A key chosen about evenly, not expired; nullopt if there is none (bounded tries).
  std::optional<std::string> RandomKey(uint32_t db);

  // ---- Accounting
  // ----------------------------------------------------------------------------------------------------- Bytes of
  // entries, values and tables, as the allocator rounds them; exact, kept up to date at each change.
  uint64_t used_bytes() const;
  // Keys expired (lazily or actively) since start, or since this count was last reset.
  uint64_t expired_keys() const { return expired_keys_; }
  void ResetExpiredKeys() { expired_keys_ = 0; }
  void AddExpiredKeys(uint64_t of_others) { expired_keys_ += of_others; }
  // Frees a bounded amount (about 0.1 ms of work) of what the background thread does not free; true if more is left.
  // Call when idle or from a timer. Tables need no housekeeping: they grow and shrink within the operations.
  bool Housekeep();

  Keyspace& keyspace() { return *keyspace_; }

 private:
  // One parsed effect of a record.
  struct Effect;

  Entry* Raw(uint32_t db, const Key& key) const;
  // Appends an effect to the open record, unless the effects are being applied from one. Before the change itself, so
  // that the arguments may be views of what it frees.
  void Append(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv);
  // The mutation hook: tells the observers. After the change itself.
  void Announce(uint32_t db, uint16_t slot, std::string_view key, std::string_view event, bool exists);
  void DeleteExpired(uint32_t db, const Key& key);
  void Load(const RdbItem& item, const Key& key);
  bool EraseEntry(uint32_t db, const Key& key, bool lazy);
  void PutText(uint32_t db, const Key& key, std::string_view value, UnixMillis expire_at, bool keep_expiry);
  absl::Status ParseRecord(uint32_t db, std::string_view body, std::vector<Effect>* effects) const;
  void ApplyEffect(const Effect& effect);
  absl::Status SlowMayWrite() const;
  void EndSnapshot(const absl::Status& status);
  void BeginQueued();
  // Takes a database out: the snapshot keeps it if it must, else it is freed.
  void DetachDatabase(uint32_t db);

  ShardOptions options_;
  Log* log_;
  std::unique_ptr<Keyspace> keyspace_;
  std::vector<MutationObserver*> observers_;
  UnixMillis now_ = 0;
  bool decides_expiry_ = true;
  bool deletes_expired_ = true;  // of this bracket
  bool applying_ = false;
  uint64_t expired_keys_ = 0;
  uint64_t changes_ = 0;
  std::unique_ptr<Snapshot> snapshot_;
  const SnapshotSink* snapshot_sink_ = nullptr;  // of snapshot_
  struct QueuedSnapshot {
    SnapshotOptions options;
    std::function<void(absl::StatusOr<SnapshotStart>)> begun;
    std::function<void(Shard&)> before;
  };
  std::deque<QueuedSnapshot> queued_;
  bool loading_ = false;
  // Where active expiry goes on.
  uint32_t expire_db_ = 0;
  uint64_t expire_cursor_ = 0;
  uint64_t random_state_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_SHARD_H_
