// WAIT and WAITAOF: until the client's own writes are where it wants them. Sources: their documentation for Redis 7.2.
#include "node/commands/families.h"
#include "node/commands/parse.h"
#include "node/loop.h"

namespace skein::node {
namespace {

// The timeout in milliseconds; 0: none. False if it is not one: the error has been written.
bool ParseTimeout(Call& call, std::string_view word, int64_t* timeout) {
  if (!ParseInt64(word, timeout)) {
    call.reply->Error("ERR timeout is not an integer or out of range");
    return false;
  }
  if (*timeout < 0) {
    call.reply->Error("ERR timeout is negative");
    return false;
  }
  if (*timeout > INT64_MAX - call.loop->now_unix_ms()) {
    call.reply->Error("ERR timeout is out of range");
    return false;
  }
  return true;
}

void RunWait(Call& call) {
  if (!call.loop->is_primary()) {
    return call.reply->Error(
        "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is "
        "configured to be writable (which is not the default) writes to replicas are just local and are not "
        "propagated.");
  }
  WaitFor what;
  if (!ParseInt64(call.argv[1], &what.replicas)) return call.reply->NotAnInteger();
  if (!ParseTimeout(call, call.argv[2], &what.timeout_ms)) return;
  call.loop->Wait(call, what);
}

void RunWaitaof(Call& call) {
  WaitFor what;
  what.aof = true;
  int64_t local;
  if (!ParseInt64(call.argv[1], &local)) return call.reply->NotAnInteger();
  if (local < 0 || local > 1) return call.reply->Error("ERR value is out of range, value must between 0 and 1");
  what.local = local != 0;
  if (!ParseInt64(call.argv[2], &what.replicas) || what.replicas < 0) {
    return call.reply->Error("ERR value is out of range, must be positive");
  }
  if (!ParseTimeout(call, call.argv[3], &what.timeout_ms)) return;
  if (!call.loop->is_primary()) {
    return call.reply->Error(
        "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local "
        "and are not propagated.");
  }
  if (what.local && !call.config->appendonly) {
    return call.reply->Error(kNoAppendOnly);
  }
  call.loop->Wait(call, what);
}

constexpr ArgDoc kWaitArgs[] = {{.name = "numreplicas", .type = "integer"}, {.name = "timeout", .type = "integer"}};
constexpr ArgDoc kWaitaofArgs[] = {{.name = "numlocal", .type = "integer"},
                                   {.name = "numreplicas", .type = "integer"},
                                   {.name = "timeout", .type = "integer"}};
constexpr const char* kWaitTips[] = {"request_policy:all_shards", "response_policy:agg_min"};

constexpr CommandSpec kWaitCommands[] = {
    {.name = "wait",
     .group = "generic",
     .since = "3.0.0",
     .summary =
         "Wait for the synchronous replication of all the write commands sent in the context of the current connection",
     .complexity = "O(1)",
     .arity = 3,
     .flags = kFlagNoscript,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunWait,
     .args = kWaitArgs,
     .tips = kWaitTips},
    {.name = "waitaof",
     .group = "generic",
     .since = "7.2.0",
     .summary = "Blocks until all of the preceding write commands sent by the connection are written to the "
                "append-only file of the master and/or replicas.",
     .complexity = "O(1)",
     .arity = 4,
     .flags = kFlagBlocking,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunWaitaof,
     .args = kWaitaofArgs,
     .tips = kWaitTips},
};

}  // namespace

std::span<const CommandSpec> WaitCommands() { return kWaitCommands; }

}  // namespace skein::node
