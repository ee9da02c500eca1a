// What can happen to a cluster that an operator wants to know of (CLUSTER EVENTS, the log, metrics).
#ifndef SKEIN_BUS_EVENT_KIND_H_
#define SKEIN_BUS_EVENT_KIND_H_

#include <cstdint>

namespace skein::bus {

enum class EventKind : uint8_t {
  kJoin,      // a node became a member
  kLeave,     // a member was forgotten
  kAddress,   // a node's address was learnt or changed
  kSuspect,   // a node is possibly failing
  kFail,      // a quorum agreed that it has failed
  kReturn,    // it answers again
  kState,     // cluster_state
  kEpoch,     // epochs: collisions, bumps
  kSlots,     // slots gained, lost, moved
  kElection,  // votes asked for, given, refused; elections won and lost
  kRole,      // a node follows another primary, was promoted, stood down
  kClose,     // links closed otherwise than by the end of their peer
  kConfig,    // reset, configuration not saved, …
  kLast = kConfig,
};

constexpr const char* EventKindName(EventKind kind) {
  switch (kind) {
    case EventKind::kJoin:
      return "join";
    case EventKind::kLeave:
      return "leave";
    case EventKind::kAddress:
      return "address";
    case EventKind::kSuspect:
      return "suspect";
    case EventKind::kFail:
      return "fail";
    case EventKind::kReturn:
      return "return";
    case EventKind::kState:
      return "state";
    case EventKind::kEpoch:
      return "epoch";
    case EventKind::kSlots:
      return "slots";
    case EventKind::kElection:
      return "election";
    case EventKind::kRole:
      return "role";
    case EventKind::kClose:
      return "close";
    case EventKind::kConfig:
      return "config";
  }
  return "config";
}

}  // namespace skein::bus

#endif  // SKEIN_BUS_EVENT_KIND_H_
