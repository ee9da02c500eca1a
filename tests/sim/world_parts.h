// The parts of a World, for its own files.
#ifndef SKEIN_TESTS_SIM_WORLD_PARTS_H_
#define SKEIN_TESTS_SIM_WORLD_PARTS_H_

#include "tests/sim/world.h"

namespace skein::sim {

using bus::kSlots;
using bus::LinkId;

inline constexpr uint16_t kBusPort = 17000;
inline constexpr uint16_t kClientPort = 7000;
inline constexpr int64_t kTickMs = 100;

// A stretch of a log: the reign that wrote it and where it began.
struct Reign {
  uint64_t id;
  uint64_t first;
};

struct alignas(64) World::SimNode {
  // What every event needs comes first.
  std::unique_ptr<bus::Engine> engine;
  int64_t next_tick = 0;
  uint32_t life = 0;                                // events meant for an earlier life are dropped
  bool up = false, frozen = false, healthy = true;  // healthy: its data plane
  int64_t clock_offset = 0, clock_ppm = 0, unix_offset = 1700000000000;
  uint64_t bytes = 0;              // sent
  std::vector<uint32_t> links[2];  // by parity and rank of the LinkId: a place in links_, 0: gone
  std::string ip;
  std::deque<bus::Event> held;  // while frozen

  // Disk.
  bus::StatePtr disk, disk_before;
  uint64_t disk_id = 0;  // of the Persist effect of this life that is on disk
  uint64_t disk_version = 0;
  std::string disk_record;
  bus::SlotSet disk_claims;

  // Network.
  LinkId next_inbound = 2;

  // Operators.
  uint64_t next_request = 1;
  std::map<uint64_t, ReplyPtr> requests;
  bool by_force = false;                                                     // an operator has told it to take over
  std::unordered_map<uint64_t, std::pair<std::string, int64_t>> forgetting;  // FORGET not answered yet, and since when
  std::unordered_map<std::string, int64_t> forgotten;                        // id -> until when it may not be seen here

  // What it said.
  std::string own_id;
  uint64_t version = 0, epoch = 0;
  bool was_replica = false;  // in its newest topology
  uint64_t said_version = 0, said_epoch = 0;
  bus::SlotSet open;  // slots it serves, in its newest topology
  uint64_t open_epoch = 0;
  std::vector<std::pair<uint16_t, uint16_t>> open_ranges;

  // Data plane.
  int64_t writable_until = 0;  // by its clock
  int64_t frozen_until = 0;    // by its clock
  int64_t applied_at = 0;      // topologies are applied in order
  std::deque<std::function<void()>> stalled;
  bool applied_ok = false, applied_primary = true;
  bus::SlotSet applied;  // slots open in its shards
  std::vector<std::pair<uint16_t, uint16_t>> applied_ranges;
  std::string follows;        // id of its primary
  uint64_t agreed_epoch = 0;  // of its newest election, if its primary has agreed to that
  bool agreed = false;        // its promotion: without loss, then
  int64_t synced_at = -1;     // when a full synchronisation will be done; -1: none is under way
  int64_t contact_at = -1;    // when it last had something from its primary; -1: never
  uint64_t position = 1, fed_position = 0;
  int64_t fed_at = -1, fed_age = 0;
  std::vector<Reign> log;
};

struct alignas(64) World::SimLink {
  int32_t node[2];  // [0] dialled
  LinkId id[2];
  uint32_t life[2];
  uint32_t generation = 0;
  bool up;
  int64_t last[2];  // arrival of the newest message sent by each side
};

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_WORLD_PARTS_H_
