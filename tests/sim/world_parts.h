// The parts of a World, for its own files.
#ifndef SKEIN_TESTS_SIM_WORLD_PARTS_H_
#define SKEIN_TESTS_SIM_WORLD_PARTS_H_

#include "tests/sim/world.h"

namespace skein::sim {

using bus::kSlots;
using bus::LinkId;

struct World::SimNode {
  std::string ip;
  std::unique_ptr<bus::Engine> engine;
  uint64_t life = 0;  // events meant for an earlier life are dropped
  bool up = false, frozen = false;
  std::deque<bus::Event> held;  // while frozen
  bus::StatePtr disk;
  uint64_t disk_id = 0;  // of the Persist effect of this life that is on disk
  uint64_t disk_version = 0;
  std::string disk_record;
  bus::SlotSet disk_claims;
  LinkId next_inbound = 2;
  uint64_t next_request = 1;
  std::map<uint64_t, ReplyPtr> requests;
  int64_t writable_until = 0;
  uint64_t bytes = 0;
  std::string own_id;
  bus::SlotSet open;  // slots it serves, in its newest topology
  uint64_t open_epoch = 0;
  std::vector<std::pair<uint16_t, uint16_t>> open_ranges;
};

struct World::SimLink {
  int node[2];  // [0] dialled
  LinkId id[2];
  uint64_t life[2];
  int64_t last[2] = {0, 0};  // arrival of the newest message sent by each side
  bool up = false, broken = false;
};

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_WORLD_PARTS_H_
