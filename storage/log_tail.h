// The tail of a log in memory: bytes on their way from a shard's loop to its writer thread, addressed by LSN.
//
// One producer (the loop) and one consumer (the writer), joined by two atomics: the position up to which the producer
// has published, and each chunk's link to the next. No lock, and nothing is allocated while the consumer keeps up.
#ifndef SKEIN_STORAGE_LOG_TAIL_H_
#define SKEIN_STORAGE_LOG_TAIL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/types.h"

namespace skein::storage {

class LogTail {
 public:
  LogTail() = default;
  ~LogTail();
  LogTail(const LogTail&) = delete;
  LogTail& operator=(const LogTail&) = delete;

  // Begins at `start`, empty. Once, before the threads.
  void Start(Lsn start);

  // ---- Producer
  // ----------------------------------------------------------------------------------------------------------- Where
  // the next byte goes.
  Lsn position() const { return base_ + static_cast<Lsn>(at_ - tail_->data); }
  // Room for `size` bytes in one piece (at most kContiguous), to be filled and then taken with Advance.
  static constexpr size_t kContiguous = 8192;
  char* Reserve(size_t size) {
    if (static_cast<size_t>(limit_ - at_) < size) NextChunk();
    return at_;
  }
  size_t room() const { return static_cast<size_t>(limit_ - at_); }
  void Advance(char* end) { at_ = end; }
  // Appends bytes in as many pieces as it takes.
  void Write(std::string_view bytes);
  // A place to read on from: that of the next byte now.
  struct Mark;
  Mark mark() const;
  // Shows what has been appended since the mark, in pieces, and moves the mark on. Nothing behind the mark may have
  // been published: the consumer changes what has, and gives it back.
  template <typename F>
  void ReadFrom(Mark* mark, F&& fn) const;
  // Lets the consumer see everything before `end`. Sequentially consistent, so that a sleep flag read afterwards is not
  // older.
  void Publish(Lsn end) { published_.store(end, std::memory_order_seq_cst); }

  // ---- Any thread --------------------------------------------------------------------------------------------------
  Lsn published() const { return published_.load(std::memory_order_seq_cst); }

  // ---- Consumer
  // ----------------------------------------------------------------------------------------------------------- The
  // bytes at the consumer's cursor that lie in one piece, up to `limit` (at most a value that published() gave). The
  // consumer may change them: nobody else looks at published bytes.
  struct Piece {
    char* data;
    size_t size;
  };
  Piece Peek(Lsn limit);
  void Skip(size_t size) { cursor_at_ += size; }
  Lsn cursor() const { return cursor_->base + cursor_at_; }
  // Gives back the chunks before the cursor.
  void Release();
  // Begins anew at `start`, empty. The producer stands still, and learns of it before it goes on.
  void Restart(Lsn start);

 private:
  struct Chunk {
    std::atomic<Chunk*> next{nullptr};
    Lsn base = 0;
    static constexpr size_t kSize = (256u << 10) - 16;
    char data[kSize];
  };

 public:
  struct Mark {
    const Chunk* chunk = nullptr;
    const char* at = nullptr;
  };

 private:
  static constexpr uint32_t kMaxSpare = 8;

  void NextChunk();
  Chunk* TakeSpare();

  // Producer.
  char* at_ = nullptr;
  char* limit_ = nullptr;
  Lsn base_ = 0;
  Chunk* tail_ = nullptr;
  Chunk* hoard_ = nullptr;  // spare chunks taken over from the consumer, linked by next
  // Shared.
  alignas(64) std::atomic<Lsn> published_{0};
  std::atomic<Chunk*> spare_{nullptr};  // given back by the consumer, linked by next
  std::atomic<uint32_t> spare_count_{0};
  // Consumer.
  alignas(64) Chunk* cursor_ = nullptr;
  size_t cursor_at_ = 0;
  Chunk* head_ = nullptr;  // the oldest chunk not given back
};

inline LogTail::Mark LogTail::mark() const { return {tail_, at_}; }

template <typename F>
void LogTail::ReadFrom(Mark* mark, F&& fn) const {
  while (mark->chunk != tail_) {
    const Chunk* const next = mark->chunk->next.load(std::memory_order_relaxed);
    const char* const end = mark->chunk->data + (next->base - mark->chunk->base);
    if (end != mark->at) fn(std::string_view(mark->at, static_cast<size_t>(end - mark->at)));
    *mark = {next, next->data};
  }
  if (at_ != mark->at) fn(std::string_view(mark->at, static_cast<size_t>(at_ - mark->at)));
  mark->at = at_;
}

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_LOG_TAIL_H_
