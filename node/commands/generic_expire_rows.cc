// The rows of the commands on times to live. Texts and argument trees are those that COMMAND DOCS of redis-server 7.0
// gives.
#include "node/commands/families.h"
#include "node/commands/generic.h"

namespace skein::node {
namespace {

constexpr KeySpec kRwUpdate[] = {{.flags = KeySpec::kRw | KeySpec::kUpdate}};
constexpr KeySpec kRoAccess[] = {{.flags = KeySpec::kRo | KeySpec::kAccess}};
constexpr ArgDoc kKeyArg[] = {
    {.name = "key", .type = "key", .key_spec_index = 0},
};
constexpr ArgDoc kExpireConditionArgs[] = {
    {.name = "nx", .type = "pure-token", .token = "NX"},
    {.name = "xx", .type = "pure-token", .token = "XX"},
    {.name = "gt", .type = "pure-token", .token = "GT"},
    {.name = "lt", .type = "pure-token", .token = "LT"},
};
constexpr ArgDoc kExpireArgs[] = {
    {.name = "key", .type = "key", .key_spec_index = 0},
    {.name = "seconds", .type = "integer"},
    {.name = "condition",
     .type = "oneof",
     .flags = ArgDoc::kOptional,
     .arguments = kExpireConditionArgs,
     .since = "7.0.0"},
};
constexpr CommandNote kExpireHistory[] = {{"7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."}};
constexpr ArgDoc kPexpireArgs[] = {
    {.name = "key", .type = "key", .key_spec_index = 0},
    {.name = "milliseconds", .type = "integer"},
    {.name = "condition",
     .type = "oneof",
     .flags = ArgDoc::kOptional,
     .arguments = kExpireConditionArgs,
     .since = "7.0.0"},
};
constexpr CommandNote kPexpireHistory[] = {{"7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."}};
constexpr ArgDoc kExpireatArgs[] = {
    {.name = "key", .type = "key", .key_spec_index = 0},
    {.name = "unix-time-seconds", .type = "unix-time"},
    {.name = "condition",
     .type = "oneof",
     .flags = ArgDoc::kOptional,
     .arguments = kExpireConditionArgs,
     .since = "7.0.0"},
};
constexpr CommandNote kExpireatHistory[] = {{"7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."}};
constexpr ArgDoc kPexpireatArgs[] = {
    {.name = "key", .type = "key", .key_spec_index = 0},
    {.name = "unix-time-milliseconds", .type = "unix-time"},
    {.name = "condition",
     .type = "oneof",
     .flags = ArgDoc::kOptional,
     .arguments = kExpireConditionArgs,
     .since = "7.0.0"},
};
constexpr CommandNote kPexpireatHistory[] = {{"7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`."}};
constexpr CommandNote kTtlHistory[] = {{"2.8.0", "Added the -2 reply."}};
constexpr const char* kNondeterministicTips[] = {"nondeterministic_output"};
constexpr CommandNote kPttlHistory[] = {{"2.8.0", "Added the -2 reply."}};

constexpr CommandSpec kExpireCommands[] = {
    {.name = "expire",
     .group = "generic",
     .since = "1.0.0",
     .summary = "Set a key's time to live in seconds",
     .complexity = "O(1)",
     .arity = -3,
     .flags = kFlagWrite | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunExpire,
     .keys = kRwUpdate,
     .args = kExpireArgs,
     .history = kExpireHistory},
    {.name = "pexpire",
     .group = "generic",
     .since = "2.6.0",
     .summary = "Set a key's time to live in milliseconds",
     .complexity = "O(1)",
     .arity = -3,
     .flags = kFlagWrite | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunPexpire,
     .keys = kRwUpdate,
     .args = kPexpireArgs,
     .history = kPexpireHistory},
    {.name = "expireat",
     .group = "generic",
     .since = "1.2.0",
     .summary = "Set the expiration for a key as a UNIX timestamp",
     .complexity = "O(1)",
     .arity = -3,
     .flags = kFlagWrite | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunExpireat,
     .keys = kRwUpdate,
     .args = kExpireatArgs,
     .history = kExpireatHistory},
    {.name = "pexpireat",
     .group = "generic",
     .since = "2.6.0",
     .summary = "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
     .complexity = "O(1)",
     .arity = -3,
     .flags = kFlagWrite | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunPexpireat,
     .keys = kRwUpdate,
     .args = kPexpireatArgs,
     .history = kPexpireatHistory},
    {.name = "expiretime",
     .group = "generic",
     .since = "7.0.0",
     .summary = "Get the expiration Unix timestamp for a key",
     .complexity = "O(1)",
     .arity = 2,
     .flags = kFlagReadonly | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunExpiretime,
     .keys = kRoAccess,
     .args = kKeyArg},
    {.name = "pexpiretime",
     .group = "generic",
     .since = "7.0.0",
     .summary = "Get the expiration Unix timestamp for a key in milliseconds",
     .complexity = "O(1)",
     .arity = 2,
     .flags = kFlagReadonly | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunPexpiretime,
     .keys = kRoAccess,
     .args = kKeyArg},
    {.name = "ttl",
     .group = "generic",
     .since = "1.0.0",
     .summary = "Get the time to live for a key in seconds",
     .complexity = "O(1)",
     .arity = 2,
     .flags = kFlagReadonly | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunTtl,
     .keys = kRoAccess,
     .args = kKeyArg,
     .history = kTtlHistory,
     .tips = kNondeterministicTips},
    {.name = "pttl",
     .group = "generic",
     .since = "2.6.0",
     .summary = "Get the time to live for a key in milliseconds",
     .complexity = "O(1)",
     .arity = 2,
     .flags = kFlagReadonly | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunPttl,
     .keys = kRoAccess,
     .args = kKeyArg,
     .history = kPttlHistory,
     .tips = kNondeterministicTips},
    {.name = "persist",
     .group = "generic",
     .since = "2.2.0",
     .summary = "Remove the expiration from a key",
     .complexity = "O(1)",
     .arity = 2,
     .flags = kFlagWrite | kFlagFast,
     .acl = kAclKeyspace,
     .scope = Scope::kShard,
     .run = RunPersist,
     .keys = kRwUpdate,
     .args = kKeyArg},
};

}  // namespace

std::span<const CommandSpec> ExpireCommands() { return kExpireCommands; }

}  // namespace skein::node
