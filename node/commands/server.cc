#include "node/commands/server.h"

#include <sys/time.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "node/commands/families.h"
#include "node/commands/parse.h"
#include "node/commands/server_figures.h"
#include "node/config/check.h"
#include "node/config/config.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/version.h"

namespace skein::node {
namespace {

void Time(Call& call) {
  timeval now;
  gettimeofday(&now, nullptr);
  call.reply->Array(2);
  call.reply->BulkInteger(now.tv_sec);
  call.reply->BulkInteger(now.tv_usec);
}

void Lolwut(Call& call) {
  if (call.argv.size() >= 3 && IsWord(call.argv[1], "VERSION")) {
    int64_t version;
    if (!ParseInt64(call.argv[2], &version)) return call.reply->NotAnInteger();
  }
  // A skein over the water.
  std::string art =
      "                 v\n"
      "              v     v\n"
      "           v           v\n"
      "        v                 v\n"
      "     v                       v\n"
      "                                v\n"
      "~~~~ ~~ ~~~~~~ ~ ~~~~~ ~~~ ~~~~~~~~ ~~\n\n"
      "Skein ver. ";
  art.append(kSkeinVersion).append(", Redis ver. ").append(kRedisVersion).append("\n");
  call.reply->Verbatim("txt", art);
}

// On success nothing is answered: the connection closes when the node has ended.
void Shutdown(Call& call) {
  bool save = false, nosave = false, now = false, force = false, abort = false;
  for (const std::string_view word : call.argv.subspan(1)) {
    if (IsWord(word, "SAVE")) {
      save = true;
    } else if (IsWord(word, "NOSAVE")) {
      nosave = true;
    } else if (IsWord(word, "NOW")) {
      now = true;
    } else if (IsWord(word, "FORCE")) {
      force = true;
    } else if (IsWord(word, "ABORT")) {
      abort = true;
    } else {
      return call.reply->SyntaxError();
    }
  }
  if ((abort && (save || nosave || now || force)) || (save && nosave)) return call.reply->SyntaxError();
  // A stop that has begun has closed its clients: whoever can ask knows that there is none.
  if (abort) return call.reply->Error("ERR No shutdown in progress.");
  static constexpr char kRefused[] = "ERR Errors trying to SHUTDOWN. Check logs.";
  ShutdownRequest request;
  request.save = save     ? ShutdownRequest::Save::kYes
                 : nosave ? ShutdownRequest::Save::kNo
                          : ShutdownRequest::Save::kIfConfigured;
  request.now = now;
  request.force = force;
  const bool saves = save || (!nosave && !EffectiveSave(*call.config).empty());
  if (!saves) {
    if (!call.node->RequestShutdown(std::move(request)).ok()) call.reply->Error(kRefused);
    return;
  }
  // Whether it stops is known once the data has been saved.
  auto owed = std::make_shared<DeferredReply>(call.node->Defer(call));
  const auto refuse = [owed] { owed->Complete([](ReplyWriter& reply) { reply.Error(kRefused); }); };
  request.refused = refuse;
  request.accepted = [owed] { owed->Complete([](ReplyWriter&) {}); };
  if (!call.node->RequestShutdown(std::move(request)).ok()) refuse();
}

constexpr uint32_t kEarly = kFlagLoading | kFlagStale;
constexpr ArgDoc kInfoArgs[] = {{.name = "section", .type = "string", .flags = ArgDoc::kOptional | ArgDoc::kMultiple}};
constexpr ArgDoc kLolwutArgs[] = {
    {.name = "version", .type = "integer", .token = "VERSION", .flags = ArgDoc::kOptional}};
constexpr ArgDoc kSaveSelector[] = {{.name = "nosave", .type = "pure-token", .token = "NOSAVE"},
                                    {.name = "save", .type = "pure-token", .token = "SAVE"}};
constexpr ArgDoc kShutdownArgs[] = {
    {.name = "save-selector", .type = "oneof", .flags = ArgDoc::kOptional, .arguments = kSaveSelector},
    {.name = "now", .type = "pure-token", .token = "NOW", .flags = ArgDoc::kOptional, .since = "7.0.0"},
    {.name = "force", .type = "pure-token", .token = "FORCE", .flags = ArgDoc::kOptional, .since = "7.0.0"},
    {.name = "abort", .type = "pure-token", .token = "ABORT", .flags = ArgDoc::kOptional, .since = "7.0.0"}};
constexpr CommandNote kInfoHistory[] = {{"7.0.0", "Added support for taking multiple section arguments."}};
constexpr CommandNote kShutdownHistory[] = {{"7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers."}};
constexpr const char* kInfoTips[] = {"nondeterministic_output", "request_policy:all_shards", "response_policy:special"};
constexpr const char* kTimeTips[] = {"nondeterministic_output"};

CommandSpec Container(const char* name, const char* since, const char* summary,
                      std::span<const CommandSpec> subcommands) {
  return {.name = name,
          .group = "server",
          .since = since,
          .summary = summary,
          .complexity = "Depends on subcommand.",
          .arity = -2,
          .flags = 0,
          .acl = 0,
          .scope = Scope::kSession,
          .run = nullptr,
          .subcommands = subcommands};
}

}  // namespace

std::span<const CommandSpec> ServerCommands() {
  static const CommandSpec kRows[] = {
      Container("acl", "6.0.0", "A container for Access List Control commands.", AclSubcommands()),
      Container("config", "2.0.0", "A container for server configuration commands.", ConfigSubcommands()),
      {.name = "debug",
       .group = "server",
       .since = "1.0.0",
       .summary = "A container for debugging commands.",
       .complexity = "Depends on subcommand.",
       .arity = -2,
       .flags = kFlagAdmin | kFlagNoscript | kEarly,
       .acl = 0,
       .scope = Scope::kSession,
       .run = RunDebug},
      {.name = "info",
       .group = "server",
       .since = "1.0.0",
       .summary = "Returns information and statistics about the server.",
       .complexity = "O(1)",
       .arity = -1,
       .flags = kEarly,
       .acl = kAclDangerous,
       .scope = Scope::kSession,
       .run = RunInfo,
       .args = kInfoArgs,
       .history = kInfoHistory,
       .tips = kInfoTips},
      {.name = "lolwut",
       .group = "server",
       .since = "5.0.0",
       .summary = "Displays computer art and the Redis version",
       .complexity = nullptr,
       .arity = -1,
       .flags = kFlagReadonly | kFlagFast,
       .acl = 0,
       .scope = Scope::kSession,
       .run = Lolwut,
       .args = kLolwutArgs},
      Container("memory", "4.0.0", "A container for memory diagnostics commands.", MemorySubcommands()),
      {.name = "shutdown",
       .group = "server",
       .since = "1.0.0",
       .summary = "Synchronously saves the database(s) to disk and shuts down the Redis server.",
       .complexity = "O(N) when saving, where N is the total number of keys in all databases when saving data, "
                     "otherwise O(1)",
       .arity = -1,
       .flags = kFlagAdmin | kFlagNoscript | kEarly | kFlagNoMulti | kFlagAllowBusy,
       .acl = 0,
       .scope = Scope::kSession,
       .run = Shutdown,
       .args = kShutdownArgs,
       .history = kShutdownHistory},
      Container("slowlog", "2.2.12", "A container for slow log commands.", SlowlogSubcommands()),
      {.name = "time",
       .group = "server",
       .since = "2.6.0",
       .summary = "Returns the server time.",
       .complexity = "O(1)",
       .arity = 1,
       .flags = kEarly | kFlagFast,
       .acl = 0,
       .scope = Scope::kSession,
       .run = Time,
       .tips = kTimeTips},
  };
  return kRows;
}

}  // namespace skein::node
