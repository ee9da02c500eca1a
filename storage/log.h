// A shard's log: the single point where its LSNs are issued.
//
// The shard's loop appends; the shard's writer thread carries whole records to the file and publishes what is durable.
// Formats: storage/FORMAT.md. Source of the rules: DESIGN "Log", "AOF", "Failed writes"; lessons L05-L21.
#ifndef SKEIN_STORAGE_LOG_H_
#define SKEIN_STORAGE_LOG_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "storage/types.h"

namespace skein::storage {

class Backlog;  // storage/backlog.h
struct Reign;   // storage/record.h

enum class AppendFsync : uint8_t { kAlways, kEverySec, kNo };

class Log {
 public:
  virtual ~Log() = default;

  // ---- The shard's loop
  // ------------------------------------------------------------------------------------------------- Whether a write
  // command may start. OK, or: Unavailable "room" (buffer full: park the session, try again on the durable callback),
  // FailedPrecondition with the MISCONF text (writes are off, and why). A command that has started may always append.
  virtual absl::Status MayWrite() const = 0;

  // Adds one effect to the open record, opening it if there is none. `db` and `slot` are the effect's: a second
  // database inside a record is written as SELECT, a second slot makes the record's slot kNoSlot. Copies the arguments.
  virtual void AppendEffect(uint32_t db, uint16_t slot, std::initializer_list<std::string_view> argv) = 0;

  // Closes the open record with the time of the command and issues its LSN: the end position, or 0 if no effect was
  // appended since the last call. No I/O happens here; the writer is woken at most once a batch (see Kick).
  virtual Lsn EndRecord(UnixMillis time) = 0;

  // Appends a time record, outside of any open record, if something has been appended since the last one. The loop
  // calls it about once a second; so the log tells how long it was silent.
  virtual void AppendTime(UnixMillis /*now*/) {}

  // Makes what has been appended visible to the writer. Once after a batch of commands.
  virtual void Kick() = 0;

  // End of the last record.
  virtual Lsn end() const = 0;

  // ---- Replication; the shard's loop, outside of any open record ---------------------------------------------------
  // The reigns of this log, oldest first, the newest kMaxReigns. The reference stays; what it shows moves on.
  virtual const std::vector<Reign>& history() const = 0;
  // Appends records of the log that this one follows, byte for byte: whole ones, the first of which starts at end().
  // Their checksums may be unset. Reigns among them enter the history. InvalidArgument, and nothing has been appended,
  // if they are not that. Whether there is room is MayWrite's to say, before.
  virtual absl::Status AppendRecords(std::string_view records) = 0;
  // Appends the record that begins a reign with a random id: from there on this log goes its own way. Returns where the
  // record ends.
  virtual Lsn BeginReign(uint64_t epoch, UnixMillis now) = 0;
  // While it follows another log it takes whole records only: AppendTime does nothing, AppendEffect must not come.
  virtual void set_follows(bool yes) = 0;
  // Keeps so many bytes of its newest records in memory, from now on, or no more (0).
  virtual void KeepBacklog(uint64_t bytes) = 0;
  // Null while none is kept. What has been appended is in it after Kick.
  virtual Backlog* backlog() = 0;

  // ---- Any thread
  // ------------------------------------------------------------------------------------------------------- Everything
  // before this is on disk by the sync policy's own call (fsync done). Only grows, except that it is 0 until the first
  // sync.
  virtual Lsn durable() const = 0;
  // Everything before this has been given to the operating system.
  virtual Lsn written() const = 0;
  // Bytes appended and not yet written: what MayWrite limits and what maxmemory counts.
  virtual uint64_t pending_bytes() const = 0;

  // For how long the disk has kept a write or sync of this log waiting, in milliseconds; 0: it keeps none.
  virtual int64_t DiskBusyMs() const { return 0; }

  // Asks for a sync of everything before `lsn`, which has been appended, as soon as it has been written, whatever the
  // policy is. Nothing if that is durable, or no sync can make it so.
  virtual void AskSync(Lsn /*lsn*/) {}

  // Changes the sync policy at run time.
  virtual void set_fsync(AppendFsync policy) = 0;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOG_H_
