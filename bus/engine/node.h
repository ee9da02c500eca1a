// What the engine knows of one member: the owner's record, how to reach it, when it was heard of, who suspects it.
#ifndef SKEIN_BUS_ENGINE_NODE_H_
#define SKEIN_BUS_ENGINE_NODE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "bus/engine/engine.h"
#include "bus/engine/ids.h"
#include "bus/engine/slots.h"
#include "bus/topology.h"

namespace skein::bus {

// A NodeRecord taken apart and checked.
struct Record {
  std::string bytes;  // as the owner serialized it
  NodeId id;
  uint64_t version = 0;
  NodeId shard_id;
  std::string ip, hostname, name;
  std::shared_ptr<const MemberIdentity> identity;  // of it all, as snapshots show it; made by Share
  bool ip_fixed = false;
  uint16_t port = 0, tls_port = 0, bus_port = 0;
  NodeId primary_id;  // empty: it is a primary
  uint64_t config_epoch = 0, elected_epoch = 0;
  std::vector<SlotRange> claims;
  bool no_failover = false;
  bool own_electorate = false;  // of a primary: itself and `witnesses` decide about it, nobody else
  std::vector<NodeId> witnesses;

  bool primary() const { return primary_id.empty(); }
};
// Never changed once it is shared: engines of one process (the simulator) hold equal records together.
using RecordPtr = std::shared_ptr<const Record>;
RecordPtr Share(Record record);

// Checks everything that can be checked without knowing other nodes. InvalidArgument names what is wrong.
absl::StatusOr<Record> ReadRecord(std::string_view bytes);

// Records by their bytes, while anybody holds them. Not safe for threads.
class RecordPool {
 public:
  absl::StatusOr<RecordPtr> Read(std::string_view bytes);

 private:
  absl::flat_hash_map<size_t, std::weak_ptr<const Record>> records_;  // by the hash of their bytes
  size_t purge_at_ = 64;
};
// True for "" only if `allow_empty`; else text that could be an IPv4 or IPv6 address.
bool PlausibleIp(std::string_view ip, bool allow_empty);
bool PlausibleHostname(std::string_view name);
// A name for people (cluster-announce-human-nodename): printable, without blanks and what CLUSTER NODES separates by.
bool PlausibleName(std::string_view name);

// A text that several members have in common, nearly always the address in a record: then it is that record's.
class Text {
 public:
  Text() = default;
  Text(const std::string& text, const RecordPtr& like)
      : text_(text == like->ip ? std::shared_ptr<const std::string>(like, &like->ip)
                               : std::make_shared<const std::string>(text)) {}
  const std::string& str() const { return text_ != nullptr ? *text_ : kNone; }
  bool empty() const { return str().empty(); }

 private:
  static const std::string kNone;
  std::shared_ptr<const std::string> text_;
};

// How a node is greeted that may not know us: not at all, as an operator asked (CLUSTER MEET), or as a seed gave its
// address.
enum class Introduction : uint8_t { kNone, kMeet, kSeed };

// An outbound link as the engine drives it.
struct OutLink {
  enum State : uint8_t { kNone, kDialing, kGreeting, kBound };
  LinkId id = 0;
  int64_t asked_ms = 0;  // when the first of the pings that it has not answered was sent; 0: none
  State state = kNone;
  uint32_t failures = 0;    // dials in a row that came to nothing
  int64_t since_ms = 0;     // of the state
  int64_t next_try_ms = 0;  // kNone: dial; kGreeting: say Hello again
  Text ip;                  // dialled
};

// What is known of a member only while something is wrong.
struct Trouble {
  int64_t fail_ms = 0;
  int64_t reported_ms = 0;                       // when we last sent our suspicion to the voters
  int64_t orphan_since_ms = 0;                   // 0: it is not one
  absl::flat_hash_map<NodeId, int64_t> reports;  // voter that suspects it -> when it said so
};

struct Node {
  explicit Node(RecordPtr record) : record_(std::move(record)) {}

  // What most messages need comes first, in as few cache lines as can be: in large clusters each costs a miss.
  uint16_t index = 0;  // stable while it is a member; see NodeTable
  bool self = false;
  bool pfail = false, fail = false;
  bool elector = false;                          // an owner of slots, or a witness of one
  bool watched = false;                          // see EngineCore::watched_
  bool lasting = false;                          // has said so (Heartbeat.lasting) since we are a primary
  uint32_t owned = 0;                            // slots it owns in our view
  bool no_address = false;                       // another node answers at its address
  bool had_replicas = false;                     // so that its loss of them all is noticed
  Introduction introduce = Introduction::kNone;  // until it knows us
  int64_t direct_ms = 0;                         // last message from it itself
  uint64_t stalled_ms = 0;                       // its own word about its data plane
  uint64_t ping_seq = 0;                         // of our newest ping
  int64_t ping_sent_ms = 0;                      // of that ping, while it is not answered; 0: answered
  int64_t unanswered_ms = 0;                     // since when it owes us an answer; 0: it does not
  OutLink out;
  LinkId in = 0;               // its newest accepted link to us
  uint64_t knows_version = 0;  // of our record: with that it has agreed to us as a primary, and its disk has it

  int64_t synced_ms = 0;  // when it last believed what we believe
  int64_t last_sync_ms = -1000;
  uint64_t decided_epoch = 0;  // its elections up to this epoch are over, and we know what it has won
  uint64_t offset = 0;         // sum of its log positions
  // In which EngineCore::rivals_version_ a heartbeat found that no vote of ours was for a rival of this primary.
  mutable uint64_t no_rival_version = 0;
  int64_t unanswered_unix_ms = 0;
  Text seen_ip;      // where it was reached, or came from
  Text observed_me;  // the address it says our link comes from

  const Record& record() const { return *record_; }
  const RecordPtr& shared_record() const { return record_; }
  const NodeId& id() const { return record_->id; }
  bool owner() const { return owned > 0 && record_->primary(); }
  bool voter() const { return elector; }
  // An open link to it, preferring ours; 0: none.
  LinkId link() const { return out.state == OutLink::kBound ? out.id : in; }

  const Trouble& trouble() const { return trouble_ != nullptr ? *trouble_ : kNoTrouble; }
  Trouble& change_trouble() {
    if (trouble_ == nullptr) trouble_ = std::make_unique<Trouble>();
    return *trouble_;
  }
  bool troubled() const { return trouble_ != nullptr; }
  void ForgetTrouble() { trouble_ = nullptr; }

 private:
  friend class NodeTable;
  static const Trouble kNoTrouble;

  RecordPtr record_;                    // changed by NodeTable::SetRecord
  mutable uint16_t primary_place_ = 0;  // where NodeTable::PrimaryOf found it last
  std::unique_ptr<Trouble> trouble_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_ENGINE_NODE_H_
