#include "bus/engine/node.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bus/engine/limits.h"
#include "proto/bus.pb.h"

namespace skein::bus {

bool PlausibleIp(std::string_view ip, bool allow_empty) {
  if (ip.empty()) return allow_empty;
  if (ip.size() > kMaxIpText) return false;
  bool separator = false;
  for (char c : ip) {
    bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    separator |= c == '.' || c == ':';
    if (!hex && c != '.' && c != ':') return false;
  }
  return separator;
}

bool PlausibleHostname(std::string_view name) {
  if (name.size() > kMaxHostName) return false;
  for (char c : name) {
    bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!word && c != '.' && c != '-' && c != '_') return false;
  }
  return true;
}

bool PlausibleName(std::string_view name) {
  if (name.size() > kMaxHostName) return false;
  for (char c : name) {
    if (c <= ' ' || c >= 0x7f || c == ',' || c == '"' || c == '\\') return false;
  }
  return true;
}

namespace {
absl::Status Bad(const char* what) { return absl::InvalidArgumentError(absl::StrCat("node record: ", what)); }
}  // namespace

absl::StatusOr<Record> ReadRecord(std::string_view bytes) {
  if (bytes.size() > kMaxRecordBytes) return Bad("too long");
  proto::NodeRecord in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Bad("not readable");
  Record out;
  auto id = NodeId::FromBytes(in.id());
  if (!id) return Bad("malformed id");
  out.id = *id;
  auto shard = NodeId::FromBytes(in.shard_id());
  if (!shard) return Bad("malformed shard id");
  out.shard_id = *shard;
  if (!in.primary_id().empty()) {
    auto primary = NodeId::FromBytes(in.primary_id());
    if (!primary || *primary == out.id) return Bad("malformed primary id");
    out.primary_id = *primary;
  }
  if (in.version() == 0) return Bad("no version");
  if (in.port() > 65535 || in.tls_port() > 65535 || in.bus_port() > 65535 || in.bus_port() == 0) return Bad("bad port");
  if (!PlausibleIp(in.ip(), true) || !PlausibleIp(in.ipv6(), true)) return Bad("bad address");
  if (!PlausibleHostname(in.hostname())) return Bad("bad host name");
  if (!PlausibleName(in.name())) return Bad("bad name");
  if (!ReadSlots(in, &out.claims)) return Bad("bad slots");
  if (!out.primary() && !out.claims.empty()) return Bad("a replica claims slots");
  if (in.elected_epoch() > in.config_epoch()) return Bad("elected with a later epoch than its own");
  if (in.witnesses_size() > static_cast<int>(kMaxWitnesses)) return Bad("too many witnesses");
  if (!out.primary() && (in.own_electorate() || in.witnesses_size() != 0)) return Bad("a replica has an electorate");
  for (const std::string& bytes : in.witnesses()) {
    auto witness = NodeId::FromBytes(bytes);
    if (!witness || *witness == out.id) return Bad("malformed witness");
    if (std::find(out.witnesses.begin(), out.witnesses.end(), *witness) != out.witnesses.end())
      return Bad("witness twice");
    out.witnesses.push_back(*witness);
  }
  out.own_electorate = in.own_electorate();
  out.bytes = std::string(bytes);
  out.version = in.version();
  out.ip = in.ip();
  out.hostname = in.hostname();
  out.name = in.name();
  out.identity =
      std::make_shared<const MemberIdentity>(MemberIdentity{out.id.Hex(), out.shard_id.Hex(), in.ip(), in.hostname()});
  out.ip_fixed = in.ip_fixed();
  out.port = static_cast<uint16_t>(in.port());
  out.tls_port = static_cast<uint16_t>(in.tls_port());
  out.bus_port = static_cast<uint16_t>(in.bus_port());
  out.config_epoch = in.config_epoch();
  out.elected_epoch = in.elected_epoch();
  out.no_failover = in.no_failover();
  return out;
}

RecordPtr Share(Record record) {
  record.identity = std::make_shared<const MemberIdentity>(
      MemberIdentity{record.id.Hex(), record.shard_id.Hex(), record.ip, record.hostname});
  return std::make_shared<const Record>(std::move(record));
}

absl::StatusOr<RecordPtr> RecordPool::Read(std::string_view bytes) {
  const size_t key = absl::HashOf(bytes);
  if (auto it = records_.find(key); it != records_.end()) {
    if (RecordPtr record = it->second.lock(); record != nullptr && record->bytes == bytes) return record;
  }
  absl::StatusOr<Record> read = ReadRecord(bytes);
  if (!read.ok()) return read.status();
  if (records_.size() >= purge_at_) {
    absl::erase_if(records_, [](const auto& r) { return r.second.expired(); });
    purge_at_ = 64 + 2 * records_.size();
  }
  RecordPtr record = Share(*std::move(read));
  records_[key] = record;
  return record;
}

const Trouble Node::kNoTrouble;
const std::string Text::kNone;

}  // namespace skein::bus
