// The handshake of a flow: the words of LOGSYNC and of its answer. Pure. node/replication/PROTOCOL.md has the words.
#ifndef SKEIN_NODE_REPLICATION_LOGSYNC_H_
#define SKEIN_NODE_REPLICATION_LOGSYNC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "node/call.h"
#include "storage/record.h"
#include "storage/types.h"

namespace skein::node {

inline constexpr uint32_t kFlowVersion = 1;

// What a replica says of itself and of one of its shards.
struct LogsyncRequest {
  uint32_t version = kFlowVersion;
  std::string replica_id;  // 40 hex digits: the same for all flows of a replica
  std::string ip;          // announced; empty: where the connection comes from
  uint16_t port = 0;       // of its clients
  uint32_t shard = 0, shards = 1, databases = 16;
  enum class Kind : uint8_t {
    kWhole,  // it has what its log says
    kPart,   // what it has is a part of a snapshot, nothing of it counts
    kAsk,    // it only wants to be told what the log here is
  } kind = Kind::kWhole;
  storage::Lsn end = 0;
  std::vector<storage::Reign> history;
};

// argv[0] included. Not more words than a client may send before AUTH, so that it is told what is missing.
std::vector<std::string> EncodeLogsync(const LogsyncRequest& request);
// The error's message is the error reply's text, code included.
absl::StatusOr<LogsyncRequest> DecodeLogsync(Args argv);

struct LogsyncAnswer {
  enum class Kind : uint8_t {
    kContinue,  // records from the replica's end on
    kFull,      // a snapshot, then records
    kParted,    // nothing more: the replica has records past `common` that this log has not. It comes back without them
    kShape,     // nothing more: the data set here has other numbers of shards or databases. It comes back with these
    kKnows,     // nothing more: where this log ends, and its history; it was asked for nothing else
  } kind = Kind::kContinue;
  uint32_t version = kFlowVersion;
  storage::Lsn common = 0;             // kParted
  uint32_t shards = 0, databases = 0;  // kShape
  storage::Lsn end = 0;                // kKnows, and the history
  std::vector<storage::Reign> history;
  std::string follows;     // kKnows: the node in the cluster that it follows, 40 hex digits; empty: none
  std::string primary_id;  // 40 hex digits
};
// A line without its end, as a status reply holds it.
std::string EncodeAnswer(const LogsyncAnswer& answer);
absl::StatusOr<LogsyncAnswer> DecodeAnswer(std::string_view line);

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_LOGSYNC_H_
