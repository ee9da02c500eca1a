#include "storage/backlog.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "glog/logging.h"

namespace skein::storage {

Backlog::~Backlog() {
  for (Cursor* const cursor : cursors_) cursor->backlog_ = nullptr;
}

void Backlog::AddBlock() {
  if (blocks_.empty()) first_ = end_;
  blocks_.push_back(spare_ != nullptr ? std::move(spare_) : std::unique_ptr<Block>(new Block));
}

void Backlog::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    if (blocks_.empty() || used() == kBlockSize) AddBlock();
    const size_t at = used();
    const size_t n = std::min(bytes.size(), kBlockSize - at);
    std::memcpy(blocks_.back()->data + at, bytes.data(), n);
    end_ += n;
    bytes.remove_prefix(n);
  }
  Trim();
}

char* Backlog::Reserve(size_t size) {
  if (size > kBlockSize) return nullptr;
  if (blocks_.empty() || used() == kBlockSize) AddBlock();
  const size_t at = used();
  return size <= kBlockSize - at ? blocks_.back()->data + at : nullptr;
}

void Backlog::Advance(size_t size) {
  DCHECK_LE(size, kBlockSize - used());
  end_ += size;
  Trim();
}

void Backlog::set_limit(uint64_t bytes) {
  limit_ = bytes;
  Trim();
}

void Backlog::Trim() {
  if (blocks_.empty() || end_ - first_ < limit_ + kBlockSize) return;
  Lsn keep = end_ - limit_;
  for (const Cursor* const cursor : cursors_) keep = std::min(keep, cursor->lsn_);
  // The last block stays: it is being filled.
  while (blocks_.size() > 1 && first_ + kBlockSize <= keep) {
    spare_ = std::move(blocks_.front());
    blocks_.pop_front();
    first_ += kBlockSize;
    begin_ = first_;
  }
}

std::unique_ptr<Backlog::Cursor> Backlog::Pin(Lsn lsn) {
  if (lsn < begin_ || lsn > end_) return nullptr;
  std::unique_ptr<Cursor> cursor(new Cursor(this, lsn));
  cursors_.push_back(cursor.get());
  return cursor;
}

Backlog::Cursor::~Cursor() {
  if (backlog_ == nullptr) return;
  std::erase(backlog_->cursors_, this);
  backlog_->Trim();
}

size_t Backlog::Cursor::Peek(iovec* pieces, size_t count, uint64_t max_bytes) const {
  uint64_t left = std::min(lag(), max_bytes);
  uint64_t at = backlog_ == nullptr ? 0 : lsn_ - backlog_->first_;
  size_t used = 0;
  while (used < count && left > 0) {
    const size_t offset = at % kBlockSize;
    const size_t n = std::min<uint64_t>(left, kBlockSize - offset);
    pieces[used++] = {backlog_->blocks_[at / kBlockSize]->data + offset, n};
    at += n;
    left -= n;
  }
  return used;
}

void Backlog::Cursor::Skip(uint64_t bytes) {
  CHECK_LE(bytes, lag());
  lsn_ += bytes;
  if (backlog_ != nullptr) backlog_->Trim();
}

}  // namespace skein::storage
