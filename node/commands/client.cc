// CLIENT and its subcommands. A client may live on any loop: what looks at other clients is gathered from all loops.
// Source: the Redis 7.2 documentation of CLIENT; error texts compared with redis-server 7.0.15.
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
#include "node/commands/connection.h"
#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/config/config.h"
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

// One line of CLIENT LIST, without its end. Fields of features that do not exist here keep the value that says so.
std::string Line(Session& session, int64_t now_mono_ms) {
  const ClientState& c = session.state();
  const size_t output = session.output_bytes();
  return fmt::format(
      "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi=-1 qbuf={} "
      "qbuf-free={} argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events={} cmd={} user={} "
      "redir=-1 "
      "resp={} lib-name={} lib-ver={}",
      c.id, c.addr, c.laddr, c.fd, c.name, std::max<int64_t>(0, now_mono_ms - c.created_ms) / 1000,
      std::max<int64_t>(0, now_mono_ms - c.last_active_ms) / 1000, Flags(c), c.db, c.channels, c.patterns,
      c.shard_channels, session.query_buffer_used(), session.query_buffer_free(), output, output,
      session.memory_usage(), output == 0 ? "r" : "rw", c.last_command.empty() ? "NULL" : c.last_command, c.user,
      c.resp, c.lib_name, c.lib_ver);
}

// Of a flow of replication.
std::string Line(const FlowClient& f, int64_t now_mono_ms) {
  return fmt::format(
      "id={} addr={} laddr={} fd={} name= age={} idle={} flags={} db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 "
      "argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem={} events={} cmd=logsync user={} redir=-1 resp=2 "
      "lib-name= lib-ver=",
      f.id, f.addr, f.laddr, f.fd, std::max<int64_t>(0, now_mono_ms - f.created_ms) / 1000,
      std::max<int64_t>(0, now_mono_ms - f.last_io_ms) / 1000, f.to_replica ? "S" : "M", f.output, f.output,
      f.output == 0 ? "r" : "rw", f.to_replica ? "default" : "(superuser)");
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

// ---- Names and settings of the connection itself -------------------------------------------------------------------

void ClientId(Call& call) { call.reply->Integer(static_cast<int64_t>(call.session->state().id)); }

void ClientGetName(Call& call) {
  const std::string& name = call.session->state().name;
  if (name.empty()) return call.reply->Null();
  call.reply->Bulk(name);
}

void ClientSetName(Call& call) {
  if (!IsClientName(call.argv[2])) {
    return call.reply->Error("ERR Client names cannot contain spaces, newlines or special characters.");
  }
  call.session->state().name = call.argv[2];
  call.reply->Ok();
}

void ClientSetInfo(Call& call) {
  const bool name = IsWord(call.argv[2], "lib-name"), version = IsWord(call.argv[2], "lib-ver");
  if (!name && !version) return call.reply->Error(fmt::format("ERR Unrecognized option '{}'", call.argv[2]));
  if (!IsClientName(call.argv[3])) {
    return call.reply->Error(
        fmt::format("ERR {} cannot contain spaces, newlines or special characters.", name ? "lib-name" : "lib-ver"));
  }
  (name ? call.session->state().lib_name : call.session->state().lib_ver) = call.argv[3];
  call.reply->Ok();
}

void ClientReply(Call& call) {
  ClientState& c = call.session->state();
  if (IsWord(call.argv[2], "ON")) {
    c.reply_mode = ClientReplyMode::kOn;
    call.reply->Ok();
  } else if (IsWord(call.argv[2], "OFF")) {
    c.reply_mode = ClientReplyMode::kOff;
  } else if (IsWord(call.argv[2], "SKIP")) {
    if (c.reply_mode != ClientReplyMode::kOff) c.reply_mode = ClientReplyMode::kSkipNext;
  } else {
    call.reply->SyntaxError();
  }
}

void OnOff(Call& call, bool ClientState::*field) {
  if (IsWord(call.argv[2], "ON")) {
    call.session->state().*field = true;
  } else if (IsWord(call.argv[2], "OFF")) {
    call.session->state().*field = false;
  } else {
    return call.reply->SyntaxError();
  }
  call.reply->Ok();
}

void ClientNoEvict(Call& call) { OnOff(call, &ClientState::no_evict); }
void ClientNoTouch(Call& call) { OnOff(call, &ClientState::no_touch); }

// There is no tracking, so nothing is ever redirected: the answer that Redis gives with tracking off.
void ClientGetRedir(Call& call) { call.reply->Integer(-1); }

// ---- PAUSE, UNPAUSE, UNBLOCK ---------------------------------------------------------------------------------------

void OnAllLoops(Call& call, std::function<void(Loop&)> change) {
  call.node->GatherLoops(
      call,
      [change = std::move(change)](Loop& loop) {
        change(loop);
        return std::string();
      },
      [](ReplyWriter& reply, const std::vector<std::string>&) { reply.Ok(); });
}

void ClientPause(Call& call) {
  int64_t timeout;
  if (call.argv.size() > 4) return WrongArity(*call.spec, call.reply);
  bool writes_only = false;
  if (call.argv.size() == 4) {
    if (IsWord(call.argv[3], "WRITE")) {
      writes_only = true;
    } else if (!IsWord(call.argv[3], "ALL")) {
      return call.reply->Error("ERR CLIENT PAUSE mode must be WRITE or ALL");
    }
  }
  if (!ParseInt64(call.argv[2], &timeout)) return call.reply->Error("ERR timeout is not an integer or out of range");
  if (timeout < 0) return call.reply->Error("ERR timeout is negative");
  const int64_t now = call.loop->now_mono_ms();
  if (timeout > INT64_MAX - now) return call.reply->Error("ERR timeout is out of range");
  const int64_t until = now + timeout;
  // A pause that is on is only ever extended: in time, and from writes to everything.
  OnAllLoops(call, [until, writes_only](Loop& loop) {
    PauseState& pause = loop.pause();
    const bool on = pause.until_ms > loop.now_mono_ms();
    pause.writes_only = writes_only && (!on || pause.writes_only);
    pause.until_ms = on ? std::max(pause.until_ms, until) : until;
  });
}

void ClientUnpause(Call& call) {
  OnAllLoops(call, [](Loop& loop) { loop.pause() = PauseState{}; });
}

void ClientUnblock(Call& call) {
  if (call.argv.size() > 4) return WrongArity(*call.spec, call.reply);
  if (call.argv.size() == 4 && !IsWord(call.argv[3], "TIMEOUT") && !IsWord(call.argv[3], "ERROR")) {
    return call.reply->Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
  }
  int64_t id;
  if (!ParseInt64(call.argv[2], &id)) return call.reply->NotAnInteger();
  const bool with_error = call.argv.size() == 4 && IsWord(call.argv[3], "ERROR");
  call.node->GatherLoops(
      call,
      [id, with_error](Loop& loop) {
        return std::string(loop.Unblock(static_cast<uint64_t>(id), with_error) ? "1" : "");
      },
      [](ReplyWriter& reply, const std::vector<std::string>& parts) {
        reply.Integer(std::any_of(parts.begin(), parts.end(), [](const std::string& part) { return !part.empty(); }));
      });
}

void ClientHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "GETREDIR",
      "    Return the client ID we are redirecting to when tracking is enabled.",
      "GETNAME",
      "    Return the name of the current connection.",
      "ID",
      "    Return the ID of the current connection.",
      "INFO",
      "    Return information about the current client connection.",
      "KILL <ip:port>",
      "    Kill connection made from <ip:port>.",
      "KILL <option> <value> [<option> <value> [...]]",
      "    Kill connections. Options are ID, TYPE, USER, ADDR, LADDR and SKIPME (default: yes).",
      "LIST [TYPE <type> | ID <client-id> [...]]",
      "    Return information about client connections.",
      "NO-EVICT (ON|OFF)",
      "    Protect current client connection from eviction.",
      "NO-TOUCH (ON|OFF)",
      "    Will not touch LRU/LFU stats when this mode is on.",
      "PAUSE <timeout> [WRITE|ALL]",
      "    Suspend all, or just write, clients for <timeout> milliseconds.",
      "REPLY (ON|OFF|SKIP)",
      "    Control the replies sent to the current connection.",
      "SETINFO <option> <value>",
      "    Set client meta attr. Options are LIB-NAME and LIB-VER.",
      "SETNAME <name>",
      "    Assign the name <name> to the current connection.",
      "UNBLOCK <clientid> [TIMEOUT|ERROR]",
      "    Unblock the specified blocked client.",
      "UNPAUSE",
      "    Stop the current client pause, resuming traffic.",
  };
  ReplyHelp(call, "CLIENT", kLines);
}

constexpr uint32_t kAny = kFlagNoscript | kFlagLoading | kFlagStale;
constexpr uint32_t kAdmin = kAny | kFlagAdmin;

constexpr ArgDoc kOnOff[] = {{.name = "on", .type = "pure-token", .token = "ON"},
                             {.name = "off", .type = "pure-token", .token = "OFF"}};
constexpr ArgDoc kEnabled[] = {{.name = "enabled", .type = "oneof", .arguments = kOnOff}};
constexpr ArgDoc kTypes[] = {{.name = "normal", .type = "pure-token", .token = "NORMAL"},
                             {.name = "master", .type = "pure-token", .token = "MASTER", .since = "3.2.0"},
                             {.name = "replica", .type = "pure-token", .token = "REPLICA", .since = "5.0.0"},
                             {.name = "pubsub", .type = "pure-token", .token = "PUBSUB"}};
constexpr ArgDoc kIds[] = {{.name = "client-id", .type = "integer", .flags = ArgDoc::kMultiple}};
constexpr ArgDoc kListArgs[] = {{.name = "client-type",
                                 .type = "oneof",
                                 .token = "TYPE",
                                 .flags = ArgDoc::kOptional,
                                 .arguments = kTypes,
                                 .since = "5.0.0"},
                                {.name = "client-id",
                                 .type = "block",
                                 .token = "ID",
                                 .flags = ArgDoc::kOptional,
                                 .arguments = kIds,
                                 .since = "6.2.0"}};
constexpr ArgDoc kSkip[] = {{.name = "yes", .type = "pure-token", .token = "YES"},
                            {.name = "no", .type = "pure-token", .token = "NO"}};
constexpr ArgDoc kFilters[] = {
    {.name = "client-id", .type = "integer", .token = "ID", .flags = ArgDoc::kOptional, .since = "2.8.12"},
    {.name = "client-type",
     .type = "oneof",
     .token = "TYPE",
     .flags = ArgDoc::kOptional,
     .arguments = kTypes,
     .since = "2.8.12"},
    {.name = "username", .type = "string", .token = "USER", .flags = ArgDoc::kOptional},
    {.name = "addr", .type = "string", .token = "ADDR", .flags = ArgDoc::kOptional},
    {.name = "laddr", .type = "string", .token = "LADDR", .flags = ArgDoc::kOptional, .since = "6.2.0"},
    {.name = "skipme", .type = "oneof", .token = "SKIPME", .flags = ArgDoc::kOptional, .arguments = kSkip}};
constexpr ArgDoc kKillForms[] = {
    {.name = "old-format", .type = "string"},
    {.name = "new-format", .type = "oneof", .flags = ArgDoc::kMultiple, .arguments = kFilters}};
constexpr ArgDoc kKillArgs[] = {{.name = "filter", .type = "oneof", .arguments = kKillForms}};
constexpr ArgDoc kNameArgs[] = {{.name = "connection-name", .type = "string"}};
constexpr ArgDoc kInfoAttrs[] = {{.name = "libname", .type = "string", .token = "LIB-NAME"},
                                 {.name = "libver", .type = "string", .token = "LIB-VER"}};
constexpr ArgDoc kSetInfoArgs[] = {{.name = "attr", .type = "oneof", .arguments = kInfoAttrs}};
constexpr ArgDoc kReplyModes[] = {{.name = "on", .type = "pure-token", .token = "ON"},
                                  {.name = "off", .type = "pure-token", .token = "OFF"},
                                  {.name = "skip", .type = "pure-token", .token = "SKIP"}};
constexpr ArgDoc kReplyArgs[] = {{.name = "action", .type = "oneof", .arguments = kReplyModes}};
constexpr ArgDoc kPauseModes[] = {{.name = "write", .type = "pure-token", .token = "WRITE"},
                                  {.name = "all", .type = "pure-token", .token = "ALL"}};
constexpr ArgDoc kPauseArgs[] = {
    {.name = "timeout", .type = "integer"},
    {.name = "mode", .type = "oneof", .flags = ArgDoc::kOptional, .arguments = kPauseModes, .since = "6.2.0"}};
constexpr ArgDoc kUnblockTypes[] = {{.name = "timeout", .type = "pure-token", .token = "TIMEOUT"},
                                    {.name = "error", .type = "pure-token", .token = "ERROR"}};
constexpr ArgDoc kUnblockArgs[] = {
    {.name = "client-id", .type = "integer"},
    {.name = "unblock-type", .type = "oneof", .flags = ArgDoc::kOptional, .arguments = kUnblockTypes}};

constexpr const char* kChanging[] = {"nondeterministic_output"};
constexpr CommandNote kPauseHistory[] = {{"6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option."}};

// What the row needs for COMMAND INFO and COMMAND DOCS alone.
CommandSpec With(CommandSpec row, std::span<const char* const> tips, std::span<const CommandNote> history = {}) {
  row.tips = tips;
  row.history = history;
  return row;
}

// Every subcommand of CLIENT is in the category @connection and runs on the session's loop.
CommandSpec Row(const char* name, const char* since, int arity, uint32_t flags, void (*run)(Call&), const char* summary,
                const char* complexity = "O(1)", std::span<const ArgDoc> args = {}) {
  return {.name = name,
          .group = "connection",
          .since = since,
          .summary = summary,
          .complexity = complexity,
          .arity = arity,
          .flags = flags,
          .acl = kAclConnection,
          .scope = Scope::kSession,
          .run = run,
          .args = args,
          .parent = "client"};
}

}  // namespace

std::span<const CommandSpec> ClientSubcommands() {
  static constexpr char kEach[] = "O(N) where N is the number of client connections";
  static const CommandSpec kRows[] = {
      Row("getname", "2.6.9", 2, kAny, ClientGetName, "Returns the name of the connection."),
      Row("getredir", "6.0.0", 2, kAny, ClientGetRedir,
          "Returns the client ID to which the connection's tracking notifications are redirected."),
      Row("help", "5.0.0", 2, kFlagLoading | kFlagStale, ClientHelp,
          "Returns helpful text about the different subcommands."),
      Row("id", "5.0.0", 2, kAny, ClientId, "Returns the unique client ID of the connection."),
      With(Row("info", "6.2.0", 2, kAny, ClientInfo, "Returns information about the connection."), kChanging),
      Row("kill", "2.4.0", -3, kAdmin, ClientKill, "Terminates open connections.", kEach, kKillArgs),
      With(Row("list", "2.4.0", -2, kAdmin, ClientList, "Lists open connections.", kEach, kListArgs), kChanging),
      Row("no-evict", "7.0.0", 3, kAdmin, ClientNoEvict, "Sets the client eviction mode of the connection.", "O(1)",
          kEnabled),
      Row("no-touch", "7.2.0", 3, kAny, ClientNoTouch,
          "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.", "O(1)", kEnabled),
      With(Row("pause", "3.0.0", -3, kAdmin, ClientPause, "Suspends commands processing.", "O(1)", kPauseArgs), {},
           kPauseHistory),
      Row("reply", "3.2.0", 3, kAny, ClientReply, "Instructs the server whether to reply to commands.", "O(1)",
          kReplyArgs),
      Row("setinfo", "7.2.0", 4, kAny, ClientSetInfo, "Sets information specific to the client or connection.", "O(1)",
          kSetInfoArgs),
      Row("setname", "2.6.9", 3, kAny, ClientSetName, "Sets the connection name.", "O(1)", kNameArgs),
      Row("unblock", "5.0.0", -3, kAdmin, ClientUnblock,
          "Unblocks a client blocked by a blocking command from a different connection.",
          "O(log N) where N is the number of client connections", kUnblockArgs),
      Row("unpause", "6.2.0", 2, kAdmin, ClientUnpause, "Resumes processing commands from paused clients.",
          "O(N) Where N is the number of paused clients"),
  };
  return kRows;
}

}  // namespace skein::node
