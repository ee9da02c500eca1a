// Who follows this node, and how far: written by the loops that host the flows, read by every loop that waits for it.
//
// One place a replica and shard, held by a seat while there is a flow. Reading takes no lock.
#ifndef SKEIN_NODE_REPLICATION_ACK_BOARD_H_
#define SKEIN_NODE_REPLICATION_ACK_BOARD_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "storage/types.h"

namespace skein::node {

class AckBoard {
 public:
  // No further replica is served.
  static constexpr size_t kMaxReplicas = 64;

  enum class Stage : uint8_t { kNone, kWaits, kSending, kOnline };

  explicit AckBoard(uint32_t shards) : shards_(shards) {}
  AckBoard(const AckBoard&) = delete;
  AckBoard& operator=(const AckBoard&) = delete;

  struct alignas(64) Place {
    std::atomic<uint64_t> holder{0};  // the seat that counts; 0: none
    std::atomic<storage::Lsn> received{0}, durable{0};
    std::atomic<int64_t> acked_ms{-1};  // CLOCK_MONOTONIC; -1: never
    std::atomic<Stage> stage{Stage::kNone};
  };

  // The duty to clear a place. Move-only. A later seat for the same place takes it over.
  class Seat {
   public:
    Seat() = default;
    Seat(Seat&& o) noexcept
        : board_(std::exchange(o.board_, nullptr)), replica_(o.replica_), shard_(o.shard_), number_(o.number_) {}
    Seat& operator=(Seat&& o) noexcept {
      if (this != &o) {
        Leave();
        board_ = std::exchange(o.board_, nullptr);
        replica_ = o.replica_;
        shard_ = o.shard_;
        number_ = o.number_;
      }
      return *this;
    }
    ~Seat() { Leave(); }
    explicit operator bool() const { return board_ != nullptr; }
    // The shard's loop. Nothing once another seat has taken over.
    void SetStage(Stage stage);
    // Positions only grow.
    void Acknowledge(storage::Lsn received, storage::Lsn durable, int64_t mono_ms);

   private:
    friend class AckBoard;
    Place* Mine() const;
    void Leave();
    AckBoard* board_ = nullptr;
    uint32_t replica_ = 0, shard_ = 0;
    uint64_t number_ = 0;
  };

  // A seat for a flow; empty if there are too many replicas. Any thread.
  Seat Take(const std::string& id, const std::string& ip, uint16_t port, uint32_t shard);

  // How many replicas have received (or have durably) what ends at these LSNs, by shard; 0 or absent: does not matter.
  // A replica counts only while all its flows are there. Any thread.
  int64_t Count(const std::vector<storage::Lsn>& ends, bool durable) const;
  // Replicas all of whose flows are there and acknowledged since `since_ms`.
  int64_t CountSince(int64_t since_ms) const;
  // Whether anybody holds a seat.
  bool any() const { return seats_.load(std::memory_order_relaxed) != 0; }

  struct View {
    std::string id, ip;
    uint16_t port;
    struct Shard {
      Stage stage;
      storage::Lsn received, durable;
      int64_t acked_ms;
    };
    std::vector<Shard> shards;
  };
  std::vector<View> Look() const;

 private:
  struct Replica {
    std::atomic<Place*> places{nullptr};  // once there are any they stay
    std::unique_ptr<Place[]> owned;
    // Under the mutex:
    uint32_t seats = 0;
    std::string id, ip;
    uint16_t port = 0;
  };

  const uint32_t shards_;
  mutable std::mutex mutex_;  // who is who
  std::array<Replica, kMaxReplicas> replicas_;
  std::atomic<uint32_t> seats_{0};
  std::atomic<uint32_t> used_{0};  // replicas_ from here on have never been used
  uint64_t next_ = 0;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_ACK_BOARD_H_
