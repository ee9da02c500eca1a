// The rows of COMMAND. Texts and argument trees are those that COMMAND DOCS of redis-server 7.0 gives.
#include "node/commands/command.h"

#include "node/commands/families.h"

namespace skein::node {
namespace {

constexpr ArgDoc kCommandDocsArgs[] = {
    {.name = "command-name", .type = "string", .flags = ArgDoc::kOptional | ArgDoc::kMultiple},
};
constexpr const char* kNondeterministicOrderTips[] = {"nondeterministic_output_order"};
constexpr CommandNote kCommandInfoHistory[] = {
    {"7.0.0", "Allowed to be called with no argument to get info on all commands."}};
constexpr ArgDoc kCommandListFilterbyArgs[] = {
    {.name = "module-name", .type = "string", .token = "MODULE"},
    {.name = "category", .type = "string", .token = "ACLCAT"},
    {.name = "pattern", .type = "pattern", .token = "PATTERN"},
};
constexpr ArgDoc kCommandListArgs[] = {
    {.name = "filterby",
     .type = "oneof",
     .token = "FILTERBY",
     .flags = ArgDoc::kOptional,
     .arguments = kCommandListFilterbyArgs},
};
constexpr CommandSpec kCommandSubcommands[] = {
    {.name = "count",
     .group = "server",
     .since = "2.8.13",
     .summary = "Get total number of Redis commands",
     .complexity = "O(1)",
     .arity = 2,
     .flags = kFlagLoading | kFlagStale,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunCommandCount,
     .parent = "command"},
    {.name = "docs",
     .group = "server",
     .since = "7.0.0",
     .summary = "Get array of specific Redis command documentation",
     .complexity = "O(N) where N is the number of commands to look up",
     .arity = -2,
     .flags = kFlagLoading | kFlagStale,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunCommandDocs,
     .args = kCommandDocsArgs,
     .parent = "command",
     .tips = kNondeterministicOrderTips},
    {.name = "getkeys",
     .group = "server",
     .since = "2.8.13",
     .summary = "Extract keys given a full Redis command",
     .complexity = "O(N) where N is the number of arguments to the command",
     .arity = -4,
     .flags = kFlagLoading | kFlagStale,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunCommandGetkeys,
     .parent = "command"},
    {.name = "getkeysandflags",
     .group = "server",
     .since = "7.0.0",
     .summary = "Extract keys and access flags given a full Redis command",
     .complexity = "O(N) where N is the number of arguments to the command",
     .arity = -4,
     .flags = kFlagLoading | kFlagStale,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunCommandGetkeysandflags,
     .parent = "command"},
    {.name = "help",
     .group = "server",
     .since = "5.0.0",
     .summary = "Show helpful text about the different subcommands",
     .complexity = "O(1)",
     .arity = 2,
     .flags = kFlagLoading | kFlagStale,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunCommandHelp,
     .parent = "command"},
    {.name = "info",
     .group = "server",
     .since = "2.8.13",
     .summary = "Get array of specific Redis command details, or all when no argument is given.",
     .complexity = "O(N) where N is the number of commands to look up",
     .arity = -2,
     .flags = kFlagLoading | kFlagStale,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunCommandInfo,
     .args = kCommandDocsArgs,
     .parent = "command",
     .history = kCommandInfoHistory,
     .tips = kNondeterministicOrderTips},
    {.name = "list",
     .group = "server",
     .since = "7.0.0",
     .summary = "Get an array of Redis command names",
     .complexity = "O(N) where N is the total number of Redis commands",
     .arity = -2,
     .flags = kFlagLoading | kFlagStale,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunCommandList,
     .args = kCommandListArgs,
     .parent = "command",
     .tips = kNondeterministicOrderTips},
};

constexpr CommandSpec kCommandCommands[] = {
    {.name = "command",
     .group = "server",
     .since = "2.8.13",
     .summary = "Get array of Redis command details",
     .complexity = "O(N) where N is the total number of Redis commands",
     .arity = -1,
     .flags = kFlagLoading | kFlagStale,
     .acl = kAclConnection,
     .scope = Scope::kSession,
     .run = RunCommand,
     .subcommands = kCommandSubcommands,
     .tips = kNondeterministicOrderTips},
};

}  // namespace

std::span<const CommandSpec> CommandCommands() { return kCommandCommands; }

}  // namespace skein::node
