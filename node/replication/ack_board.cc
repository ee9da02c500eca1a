#include "node/replication/ack_board.h"

#include <algorithm>

namespace skein::node {

AckBoard::Place* AckBoard::Seat::Mine() const {
  if (board_ == nullptr) return nullptr;
  Place* const place = &board_->replicas_[replica_].places.load(std::memory_order_acquire)[shard_];
  return place->holder.load(std::memory_order_acquire) == number_ ? place : nullptr;
}

void AckBoard::Seat::SetStage(Stage stage) {
  if (Place* const place = Mine()) place->stage.store(stage, std::memory_order_release);
}

void AckBoard::Seat::Acknowledge(storage::Lsn received, storage::Lsn durable, int64_t mono_ms) {
  Place* const place = Mine();
  if (place == nullptr) return;
  // Read by loops that have announced that they wait (LoopImpl::OnAcks).
  if (received > place->received.load(std::memory_order_relaxed)) place->received.store(received);
  if (durable > place->durable.load(std::memory_order_relaxed)) place->durable.store(durable);
  place->acked_ms.store(mono_ms, std::memory_order_release);
}

void AckBoard::Seat::Leave() {
  AckBoard* const board = std::exchange(board_, nullptr);
  if (board == nullptr) return;
  const std::lock_guard lock(board->mutex_);
  Replica& replica = board->replicas_[replica_];
  Place& place = replica.owned[shard_];
  if (place.holder.load(std::memory_order_relaxed) == number_) {
    place.holder.store(0, std::memory_order_release);
    place.stage.store(Stage::kNone, std::memory_order_release);
    place.received.store(0);
    place.durable.store(0);
    place.acked_ms.store(-1, std::memory_order_release);
  }
  --replica.seats;
  board->seats_.fetch_sub(1, std::memory_order_relaxed);
}

AckBoard::Seat AckBoard::Take(const std::string& id, const std::string& ip, uint16_t port, uint32_t shard) {
  const std::lock_guard lock(mutex_);
  Replica* found = nullptr;
  for (Replica& r : replicas_) {
    if (r.seats != 0 && r.id == id) found = &r;
  }
  for (Replica& r : replicas_) {
    if (found == nullptr && r.seats == 0) found = &r;
  }
  if (found == nullptr) return {};
  const auto index = static_cast<uint32_t>(found - replicas_.data());
  if (found->owned == nullptr) {
    found->owned = std::make_unique<Place[]>(shards_);
    found->places.store(found->owned.get(), std::memory_order_release);
  }
  used_.store(std::max(used_.load(std::memory_order_relaxed), index + 1), std::memory_order_release);
  found->id = id;
  found->ip = ip;
  found->port = port;
  ++found->seats;
  seats_.fetch_add(1, std::memory_order_relaxed);
  Seat seat;
  seat.board_ = this;
  seat.replica_ = index;
  seat.shard_ = shard;
  seat.number_ = ++next_;
  Place& place = found->owned[shard];
  place.received.store(0);
  place.durable.store(0);
  place.acked_ms.store(-1, std::memory_order_release);
  place.stage.store(Stage::kWaits, std::memory_order_release);
  place.holder.store(seat.number_, std::memory_order_release);
  return seat;
}

int64_t AckBoard::Count(const std::vector<storage::Lsn>& ends, bool durable) const {
  int64_t count = 0;
  const uint32_t used = used_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    const Place* const places = replicas_[i].places.load(std::memory_order_acquire);
    bool all = places != nullptr;
    for (uint32_t shard = 0; all && shard < shards_; ++shard) {
      const Place& p = places[shard];
      const storage::Lsn end = shard < ends.size() ? ends[shard] : 0;
      // Sequentially consistent, after the announcement that somebody waits for it.
      all =
          p.stage.load(std::memory_order_acquire) == Stage::kOnline && (durable ? p.durable : p.received).load() >= end;
    }
    if (all) ++count;
  }
  return count;
}

int64_t AckBoard::CountSince(int64_t since_ms) const {
  int64_t count = 0;
  const uint32_t used = used_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    const Place* const places = replicas_[i].places.load(std::memory_order_acquire);
    bool all = places != nullptr;
    for (uint32_t shard = 0; all && shard < shards_; ++shard) {
      all = places[shard].stage.load(std::memory_order_acquire) == Stage::kOnline &&
            places[shard].acked_ms.load(std::memory_order_acquire) >= std::max<int64_t>(since_ms, 0);
    }
    if (all) ++count;
  }
  return count;
}

std::vector<AckBoard::View> AckBoard::Look() const {
  const std::lock_guard lock(mutex_);
  std::vector<View> views;
  for (const Replica& r : replicas_) {
    if (r.seats == 0) continue;
    View& view = views.emplace_back(View{r.id, r.ip, r.port, {}});
    for (uint32_t shard = 0; shard < shards_; ++shard) {
      const Place& p = r.owned[shard];
      view.shards.push_back({p.stage.load(), p.received.load(), p.durable.load(), p.acked_ms.load()});
    }
  }
  return views;
}

}  // namespace skein::node
