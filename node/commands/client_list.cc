// Clients of all loops, and the connections of replication among them: CLIENT LIST, INFO and KILL.
// Source: the Redis 7.2 documentation of CLIENT; error texts compared with redis-server 7.0.15.
#include "node/commands/client_list.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "node/commands/parse.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/replication/replication.h"
#include "node/session.h"

namespace skein::node {
namespace {

// ---- CLIENT LIST and INFO ------------------------------------------------------------------------------------------

std::string Flags(const ClientState& c) {
  std::string flags;
  if (c.subscribed()) flags += 'P';
  if (c.readonly) flags += 'r';
  if (c.close_after_reply) flags += 'c';
  if (c.close_now) flags += 'A';
  if (c.no_evict) flags += 'e';
  if (c.no_touch) flags += 'T';
  if (c.blocked) flags += 'b';
  if (flags.empty()) flags = "N";
  return flags;
}

// A client as CLIENT LIST shows it. Times are of the loop's monotonic clock, sizes are bytes.
struct ListedClient {
  uint64_t id = 0;
  std::string_view addr, laddr;
  int fd = -1;
  std::string_view name;
  int64_t created_ms = 0, active_ms = 0;
  std::string flags;
  uint32_t db = 0;
  size_t channels = 0, patterns = 0, shard_channels = 0;
  size_t query_used = 0, query_free = 0, output = 0, memory = 0;
  std::string_view command, user;
  int resp = 2;
  std::string_view lib_name, lib_ver;
};

// Its line, without the end. Fields of features that do not exist here keep the value that says so.
std::string Line(const ListedClient& c, int64_t now_mono_ms) {
  return fmt::format(
      "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi=-1 qbuf={} "
      "qbuf-free={} argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events={} cmd={} user={} "
      "redir=-1 resp={} lib-name={} lib-ver={}",
      c.id, c.addr, c.laddr, c.fd, c.name, std::max<int64_t>(0, now_mono_ms - c.created_ms) / 1000,
      std::max<int64_t>(0, now_mono_ms - c.active_ms) / 1000, c.flags, c.db, c.channels, c.patterns, c.shard_channels,
      c.query_used, c.query_free, c.output, c.output, c.memory, c.output == 0 ? "r" : "rw",
      c.command.empty() ? "NULL" : c.command, c.user, c.resp, c.lib_name, c.lib_ver);
}

std::string Line(Session& session, int64_t now_mono_ms) {
  const ClientState& c = session.state();
  return Line({.id = c.id,
               .addr = c.addr,
               .laddr = c.laddr,
               .fd = c.fd,
               .name = c.name,
               .created_ms = c.created_ms,
               .active_ms = c.last_active_ms,
               .flags = Flags(c),
               .db = c.db,
               .channels = c.channels,
               .patterns = c.patterns,
               .shard_channels = c.shard_channels,
               .query_used = session.query_buffer_used(),
               .query_free = session.query_buffer_free(),
               .output = session.output_bytes(),
               .memory = session.memory_usage(),
               .command = c.last_command,
               .user = c.user,
               .resp = c.resp,
               .lib_name = c.lib_name,
               .lib_ver = c.lib_ver},
              now_mono_ms);
}

std::string Line(const FlowClient& f, int64_t now_mono_ms) {
  ListedClient c;
  c.id = f.id;
  c.addr = f.addr;
  c.laddr = f.laddr;
  c.fd = f.fd;
  c.created_ms = f.created_ms;
  c.active_ms = f.last_io_ms;
  c.flags = f.to_replica ? "S" : "M";
  c.output = c.memory = f.output;
  c.command = "logsync";
  c.user = f.to_replica ? "default" : "(superuser)";
  return Line(c, now_mono_ms);
}

uint64_t LineId(std::string_view line) {
  uint64_t id = 0;
  std::from_chars(line.data() + 3, line.data() + line.size(), id);  // behind "id="
  return id;
}

enum class ClientType : uint8_t { kNormal, kPrimary, kReplica, kPubsub };

std::optional<ClientType> ParseType(std::string_view word) {
  if (IsWord(word, "normal")) return ClientType::kNormal;
  if (IsWord(word, "master") || IsWord(word, "primary")) return ClientType::kPrimary;
  if (IsWord(word, "slave") || IsWord(word, "replica")) return ClientType::kReplica;
  if (IsWord(word, "pubsub")) return ClientType::kPubsub;
  return std::nullopt;
}

ClientType TypeOf(const ClientState& c) { return c.subscribed() ? ClientType::kPubsub : ClientType::kNormal; }

ClientType TypeOf(const FlowClient& f) { return f.to_replica ? ClientType::kReplica : ClientType::kPrimary; }

std::vector<FlowClient> FlowsOf(const Node& node, Loop& loop) {
  return node.replication() == nullptr ? std::vector<FlowClient>() : node.replication()->Flows(loop);
}

void UnknownType(Call& call, std::string_view word) {
  call.reply->Error(fmt::format("ERR Unknown client type '{}'", word));
}

}  // namespace

void ClientList(Call& call) {
  auto ids = std::make_shared<std::set<uint64_t>>();
  std::optional<ClientType> wanted;
  if (call.argv.size() > 2) {
    if (IsWord(call.argv[2], "TYPE") && call.argv.size() == 4) {
      const auto type = ParseType(call.argv[3]);
      if (!type.has_value()) return UnknownType(call, call.argv[3]);
      wanted = type;
    } else if (IsWord(call.argv[2], "ID") && call.argv.size() > 3) {
      for (std::string_view word : call.argv.subspan(3)) {
        int64_t id;
        if (!ParseInt64(word, &id) || id < 1) return call.reply->Error("ERR Invalid client ID");
        ids->insert(static_cast<uint64_t>(id));
      }
    } else {
      return call.reply->SyntaxError();
    }
  }
  call.node->GatherLoops(
      call,
      [ids, wanted, node = call.node](Loop& loop) {
        std::string lines;
        loop.ForEachSession([&](Session& session) {
          if (!ids->empty() && !ids->contains(session.state().id)) return;
          if (wanted.has_value() && *wanted != TypeOf(session.state())) return;
          lines += Line(session, loop.now_mono_ms());
          lines += '\n';
        });
        for (const FlowClient& flow : FlowsOf(*node, loop)) {
          if (!ids->empty() && !ids->contains(flow.id)) continue;
          if (wanted.has_value() && *wanted != TypeOf(flow)) continue;
          lines += Line(flow, loop.now_mono_ms());
          lines += '\n';
        }
        return lines;
      },
      [](ReplyWriter& reply, const std::vector<std::string>& parts) {
        std::vector<std::string_view> lines;
        for (const std::string& part : parts) {
          for (std::string_view rest = part; !rest.empty();) {
            const size_t end = rest.find('\n');
            lines.push_back(rest.substr(0, end + 1));
            rest.remove_prefix(end + 1);
          }
        }
        std::sort(lines.begin(), lines.end(),
                  [](std::string_view a, std::string_view b) { return LineId(a) < LineId(b); });
        std::string text;
        for (std::string_view line : lines) text += line;
        reply.Verbatim("txt", text);
      });
}

void ClientInfo(Call& call) { call.reply->Verbatim("txt", Line(*call.session, call.loop->now_mono_ms()) + "\n"); }

namespace {

// ---- CLIENT KILL ---------------------------------------------------------------------------------------------------

struct KillFilter {
  std::optional<uint64_t> id;
  std::optional<ClientType> type;
  std::optional<std::string> user, addr, laddr;
  bool skip_me = true;
  uint64_t me = 0;

  bool Matches(const ClientState& c) const {
    if (id.has_value() && c.id != *id) return false;
    if (type.has_value() && *type != TypeOf(c)) return false;
    if (user.has_value() && c.user != *user) return false;
    if (addr.has_value() && c.addr != *addr) return false;
    if (laddr.has_value() && c.laddr != *laddr) return false;
    return !skip_me || c.id != me;
  }
  bool Matches(const FlowClient& f) const {
    if (id.has_value() && f.id != *id) return false;
    if (type.has_value() && *type != TypeOf(f)) return false;
    if (user.has_value() && !f.to_replica) return false;  // the primary's link is nobody's
    if (addr.has_value() && f.addr != *addr) return false;
    return !laddr.has_value() || f.laddr == *laddr;
  }
};

// Reads `ID n ADDR a …`. False: an error has been written.
bool ParseKill(Call& call, KillFilter* filter) {
  for (size_t i = 2; i < call.argv.size(); i += 2) {
    if (i + 1 == call.argv.size()) {
      call.reply->SyntaxError();
      return false;
    }
    const std::string_view option = call.argv[i], value = call.argv[i + 1];
    if (IsWord(option, "ID")) {
      int64_t id;
      if (!ParseInt64(value, &id) || id < 1) {
        call.reply->Error("ERR client-id should be greater than 0");
        return false;
      }
      filter->id = static_cast<uint64_t>(id);
    } else if (IsWord(option, "TYPE")) {
      filter->type = ParseType(value);
      if (!filter->type.has_value()) {
        UnknownType(call, value);
        return false;
      }
    } else if (IsWord(option, "ADDR")) {
      filter->addr = value;
    } else if (IsWord(option, "LADDR")) {
      filter->laddr = value;
    } else if (IsWord(option, "USER")) {
      if (value != "default") {
        call.reply->Error(fmt::format("ERR No such user '{}'", value));
        return false;
      }
      filter->user = value;
    } else if (IsWord(option, "SKIPME") && (IsWord(value, "yes") || IsWord(value, "no"))) {
      filter->skip_me = IsWord(value, "yes");
    } else {
      call.reply->SyntaxError();
      return false;
    }
  }
  return true;
}

}  // namespace

void ClientKill(Call& call) {
  KillFilter filter;
  filter.me = call.session->state().id;
  const bool old_form = call.argv.size() == 3;
  if (old_form) {
    filter.addr = call.argv[2];
    filter.skip_me = false;
  } else if (!ParseKill(call, &filter)) {
    return;
  }
  call.node->GatherLoops(
      call,
      [filter, node = call.node](Loop& loop) {
        int64_t killed = 0;
        loop.ForEachSession([&](Session& session) {
          if (!filter.Matches(session.state())) return;
          ++killed;
          session.Close(/*after_replies=*/session.state().id == filter.me);
        });
        for (const FlowClient& flow : FlowsOf(*node, loop)) {
          if (!filter.Matches(flow)) continue;
          ++killed;
          node->replication()->CloseFlow(loop, flow.id);
        }
        return std::to_string(killed);
      },
      [old_form](ReplyWriter& reply, const std::vector<std::string>& parts) {
        int64_t killed = 0;
        for (const std::string& part : parts) {
          int64_t n = 0;
          ParseInt64(part, &n);
          killed += n;
        }
        if (!old_form) return reply.Integer(killed);
        if (killed == 0) return reply.Error("ERR No such client");
        reply.Ok();
      });
}

}  // namespace skein::node
