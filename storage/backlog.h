// The newest records of a shard's log, kept in memory for those who follow it.
//
// A ring of blocks, addressed by LSN. Whoever follows pins a place with a cursor, before which blocks may go: what is
// behind every cursor goes once there is more than the limit. Bytes are as the log's loop has made them: the checksums
// of a record may be unset. Thread: the loop that hosts the shard; no locks.
#ifndef SKEIN_STORAGE_BACKLOG_H_
#define SKEIN_STORAGE_BACKLOG_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "storage/types.h"

namespace skein::storage {

class Backlog {
 public:
  static constexpr size_t kBlockSize = size_t{128} << 10;

  // Begins at `begin`, empty; keeps at least `limit` bytes (less than a block more) once there are so many.
  Backlog(Lsn begin, uint64_t limit) : limit_(limit), begin_(begin), end_(begin) {}
  // Cursors outlive it: they have nothing to give from then on.
  ~Backlog();
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;

  // Whole records follow each other here; a call may bring any part of one.
  void Append(std::string_view bytes);
  // Room at the end for `size` bytes in one piece, to be filled and then taken with Advance; null if the block that is
  // being filled has less.
  char* Reserve(size_t size);
  void Advance(size_t size);

  // What is held: [begin, end).
  Lsn begin() const { return begin_; }
  Lsn end() const { return end_; }
  uint64_t bytes() const { return end_ - begin_; }
  // Memory that it takes.
  uint64_t memory() const { return blocks_.size() * sizeof(Block); }
  // The part of it that is there only because a cursor lags.
  uint64_t extra_memory() const {
    const uint64_t own = (limit_ / kBlockSize + 2) * sizeof(Block);
    return memory() > own ? memory() - own : 0;
  }
  uint64_t limit() const { return limit_; }
  void set_limit(uint64_t bytes);

  class Cursor {
   public:
    ~Cursor();
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;

    // The next byte that Peek shows.
    Lsn lsn() const { return lsn_; }
    // Whether the backlog is gone (its log keeps none any more): nothing more will come.
    bool detached() const { return backlog_ == nullptr; }
    // Bytes from here to the end: what this cursor keeps from going.
    uint64_t lag() const { return backlog_ == nullptr ? 0 : backlog_->end_ - lsn_; }
    // The bytes from here on, in up to `count` pieces and up to `max_bytes`. Returns how many pieces. They stay where
    // they are until they are skipped, or the backlog goes.
    size_t Peek(iovec* pieces, size_t count, uint64_t max_bytes) const;
    // Moves on by so many bytes, which are there.
    void Skip(uint64_t bytes);

   private:
    friend class Backlog;
    Cursor(Backlog* backlog, Lsn lsn) : backlog_(backlog), lsn_(lsn) {}
    Backlog* backlog_;
    Lsn lsn_;
  };
  // A cursor at `lsn`, which is held, or the end; null if it is not.
  std::unique_ptr<Cursor> Pin(Lsn lsn);

 private:
  struct Block {
    char data[kBlockSize];
  };
  // Bytes of the last block.
  size_t used() const {
    return static_cast<size_t>(end_ - first_ - (blocks_.empty() ? 0 : (blocks_.size() - 1) * kBlockSize));
  }
  void AddBlock();
  void Trim();

  uint64_t limit_;
  Lsn begin_, end_;
  Lsn first_ = 0;  // of blocks_.front()
  std::deque<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<Block> spare_;
  std::vector<Cursor*> cursors_;  // as many as there are replicas: few
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_BACKLOG_H_
