// CLIENT and its subcommands; what lists and kills clients is in client_list.cc.
// Source: the Redis 7.2 documentation of CLIENT; error texts compared with redis-server 7.0.15.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "node/commands/client_list.h"
#include "node/commands/connection.h"
#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/config/config.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/session.h"

namespace skein::node {
namespace {

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
