#include "node/replication/logsync.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "fmt/format.h"

namespace skein::node {
namespace {

constexpr size_t kWords = 10;
constexpr size_t kMaxAddress = 256;
// What a manifest can say.
constexpr uint64_t kMaxShards = 1024, kMaxDatabases = 65535;

template <typename T>
bool Number(std::string_view text, T* value, uint64_t max = UINT64_MAX) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n > max) return false;
  *value = static_cast<T>(n);
  return true;
}

bool IsId(std::string_view text) {
  return text.size() == 40 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string_view TakeUntil(std::string_view* text, char end) {
  const size_t at = text->find(end);
  const std::string_view word = text->substr(0, at);
  *text = at == std::string_view::npos ? std::string_view() : text->substr(at + 1);
  return word;
}

bool ParseHistory(std::string_view text, std::vector<storage::Reign>* history) {
  if (text == "-") return true;
  while (!text.empty()) {
    if (history->size() == storage::kMaxReigns) return false;
    std::string_view entry = TakeUntil(&text, ',');
    storage::Reign reign;
    const auto id = storage::ParseReignId(TakeUntil(&entry, ':'));
    if (!id || !Number(TakeUntil(&entry, ':'), &reign.epoch) || !Number(entry, &reign.first_lsn)) return false;
    reign.id = *id;
    history->push_back(reign);
  }
  return true;
}

std::string HistoryText(const std::vector<storage::Reign>& history) {
  std::string text;
  for (const storage::Reign& reign : history) {
    fmt::format_to(std::back_inserter(text), "{}{}:{}:{}", text.empty() ? "" : ",", reign.IdHex(), reign.epoch,
                   reign.first_lsn);
  }
  return text.empty() ? "-" : text;
}

absl::Status Refused(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("ERR LOGSYNC: ", std::string(what)));
}

}  // namespace

std::vector<std::string> EncodeLogsync(const LogsyncRequest& r) {
  constexpr const char* kWords[] = {"whole", "part", "ask"};
  return {"LOGSYNC",
          std::to_string(r.version),
          r.replica_id,
          r.ip.empty() ? "-" : r.ip,
          std::to_string(r.port),
          absl::StrCat(r.shard, "/", r.shards),
          std::to_string(r.databases),
          kWords[static_cast<size_t>(r.kind)],
          std::to_string(r.end),
          HistoryText(r.history)};
}

absl::StatusOr<LogsyncRequest> DecodeLogsync(Args argv) {
  LogsyncRequest r;
  if (argv.size() < 2 || !Number(argv[1], &r.version, UINT32_MAX)) return Refused("the version is not a number");
  if (r.version < kFlowVersion) {
    return Refused(fmt::format("version {} of the protocol, this node speaks {}", r.version, kFlowVersion));
  }
  // A newer one may say more: what this version knows stands first.
  if (argv.size() < kWords || (r.version == kFlowVersion && argv.size() != kWords))
    return Refused("wrong number of words");
  if (!IsId(argv[2])) return Refused("the replica's id is not 40 lower-case hexadecimal digits");
  r.replica_id = argv[2];
  if (argv[3].size() > kMaxAddress) return Refused("the announced address is too long");
  for (const char c : argv[3]) {
    if (c <= ' ' || c > '~' || c == ',' || c == '=') return Refused("the announced address is none");
  }
  if (argv[3] != "-") r.ip = argv[3];
  if (!Number(argv[4], &r.port, 65535)) return Refused("the port is none");
  std::string_view of = argv[5];
  if (!Number(TakeUntil(&of, '/'), &r.shard, UINT32_MAX) || !Number(of, &r.shards, UINT32_MAX) || r.shard >= r.shards) {
    return Refused("the shard is none");
  }
  if (!Number(argv[6], &r.databases, UINT32_MAX)) return Refused("the number of databases is none");
  if (argv[7] == "part") {
    r.kind = LogsyncRequest::Kind::kPart;
  } else if (argv[7] == "ask") {
    r.kind = LogsyncRequest::Kind::kAsk;
  } else if (argv[7] != "whole") {
    return Refused("'whole', 'part' or 'ask' is expected");
  }
  if (!Number(argv[8], &r.end)) return Refused("the end of the log is none");
  if (!ParseHistory(argv[9], &r.history)) return Refused("the history is none");
  return r;
}

std::string EncodeAnswer(const LogsyncAnswer& a) {
  constexpr const char* kKinds[] = {"CONTINUE", "FULL", "PARTED", "SHAPE", "KNOWS"};
  std::string line = fmt::format("{} {} {}", kKinds[static_cast<size_t>(a.kind)], a.version, a.primary_id);
  if (a.kind == LogsyncAnswer::Kind::kParted) absl::StrAppend(&line, " ", a.common);
  if (a.kind == LogsyncAnswer::Kind::kShape) absl::StrAppend(&line, " ", a.shards, " ", a.databases);
  if (a.kind == LogsyncAnswer::Kind::kKnows)
    absl::StrAppend(&line, " ", a.end, " ", HistoryText(a.history), " ", a.follows.empty() ? "-" : a.follows);
  return line;
}

absl::StatusOr<LogsyncAnswer> DecodeAnswer(std::string_view line) {
  const auto bad = [] { return absl::InvalidArgumentError("the answer to LOGSYNC is not understood"); };
  LogsyncAnswer a;
  const std::string_view kind = TakeUntil(&line, ' ');
  if (kind == "FULL") {
    a.kind = LogsyncAnswer::Kind::kFull;
  } else if (kind == "PARTED") {
    a.kind = LogsyncAnswer::Kind::kParted;
  } else if (kind == "SHAPE") {
    a.kind = LogsyncAnswer::Kind::kShape;
  } else if (kind == "KNOWS") {
    a.kind = LogsyncAnswer::Kind::kKnows;
  } else if (kind != "CONTINUE") {
    return bad();
  }
  if (!Number(TakeUntil(&line, ' '), &a.version, UINT32_MAX) || a.version == 0 || a.version > kFlowVersion)
    return bad();
  const std::string_view id = TakeUntil(&line, ' ');
  if (!IsId(id)) return bad();
  a.primary_id = id;
  if (a.kind == LogsyncAnswer::Kind::kParted) {
    if (!Number(line, &a.common)) return bad();
  } else if (a.kind == LogsyncAnswer::Kind::kShape) {
    if (!Number(TakeUntil(&line, ' '), &a.shards, kMaxShards) || a.shards == 0) return bad();
    if (!Number(line, &a.databases, kMaxDatabases) || a.databases == 0) return bad();
  } else if (a.kind == LogsyncAnswer::Kind::kKnows) {
    if (!Number(TakeUntil(&line, ' '), &a.end)) return bad();
    const std::string_view history = TakeUntil(&line, ' ');
    if (history.empty() || !ParseHistory(history, &a.history)) return bad();
    if (line != "-" && !IsId(line)) return bad();
    if (line != "-") a.follows = line;
  } else if (!line.empty()) {
    return bad();
  }
  return a;
}

}  // namespace skein::node
