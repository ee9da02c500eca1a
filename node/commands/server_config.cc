// CONFIG. The table of directives and its rules are node/config's; here are only the words of the command.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "node/commands/help.h"
#include "node/commands/server.h"
#include "node/config/change.h"
#include "node/node.h"

namespace skein::node {
namespace {

void ConfigGetCommand(Call& call) {
  const ConfigPtr config = call.node->config();
  // Of a name that several patterns match, one answer.
  std::map<std::string, std::string> found;
  for (const std::string_view pattern : call.argv.subspan(2)) {
    for (auto& [name, value] : ConfigGet(*config, std::string(pattern))) found.emplace(name, value);
  }
  call.reply->Map(found.size());
  for (const auto& [name, value] : found) {
    call.reply->Bulk(name);
    call.reply->Bulk(value);
  }
}

void ConfigSetCommand(Call& call) {
  if (call.argv.size() % 2 != 0) return WrongArity(*call.spec, call.reply);
  ConfigPairs pairs;
  for (size_t i = 2; i < call.argv.size(); i += 2) pairs.emplace_back(call.argv[i], call.argv[i + 1]);
  const ConfigPtr config = call.node->config();
  const absl::StatusOr<Config> changed = ConfigSet(*config, pairs);
  if (changed.ok() && changed->appendonly != config->appendonly) {
    auto owed = std::make_shared<DeferredReply>(call.node->Defer(call));
    return call.node->SwitchLog(pairs, [owed](const absl::Status& status) {
      owed->Complete(
          [status](ReplyWriter& reply) { status.ok() ? reply.Ok() : reply.Error(std::string(status.message())); });
    });
  }
  const absl::Status status = call.node->SetConfig(pairs);
  if (!status.ok()) return call.reply->Error(std::string(status.message()));
  call.reply->Ok();
}

void ConfigRewriteCommand(Call& call) {
  const absl::Status status = ConfigRewrite(*call.node->config());
  if (!status.ok()) return call.reply->Error(std::string(status.message()));
  call.reply->Ok();
}

void ConfigResetstat(Call& call) {
  call.node->ResetStats();
  call.reply->Ok();
}

void ConfigHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "GET <pattern>",
      "    Return parameters matching the glob-like <pattern> and their values.",
      "SET <directive> <value>",
      "    Set the configuration <directive> to <value>.",
      "RESETSTAT",
      "    Reset statistics reported by the INFO command.",
      "REWRITE",
      "    Rewrite the configuration file.",
  };
  ReplyHelp(call, "CONFIG", kLines);
}

constexpr uint32_t kFlags = kFlagAdmin | kFlagNoscript | kFlagLoading | kFlagStale;
constexpr ArgDoc kParameter[] = {{.name = "parameter", .type = "string"}};
constexpr ArgDoc kGetArgs[] = {
    {.name = "parameter", .type = "block", .flags = ArgDoc::kMultiple, .arguments = kParameter}};
constexpr ArgDoc kParameterValue[] = {{.name = "parameter", .type = "string"}, {.name = "value", .type = "string"}};
constexpr ArgDoc kSetArgs[] = {
    {.name = "data", .type = "block", .flags = ArgDoc::kMultiple, .arguments = kParameterValue}};
constexpr CommandNote kGetHistory[] = {{"7.0.0", "Added the ability to pass multiple pattern parameters in one call"}};
constexpr CommandNote kSetHistory[] = {{"7.0.0", "Added the ability to set multiple parameters in one call."}};
constexpr const char* kAllNodes[] = {"request_policy:all_nodes", "response_policy:all_succeeded"};

}  // namespace

std::span<const CommandSpec> ConfigSubcommands() {
  static const CommandSpec kRows[] = {
      {.name = "get",
       .group = "server",
       .since = "2.0.0",
       .summary = "Returns the effective values of configuration parameters.",
       .complexity = "O(N) when N is the number of configuration parameters provided",
       .arity = -3,
       .flags = kFlags,
       .acl = 0,
       .scope = Scope::kSession,
       .run = ConfigGetCommand,
       .args = kGetArgs,
       .parent = "config",
       .history = kGetHistory},
      {.name = "help",
       .group = "server",
       .since = "5.0.0",
       .summary = "Returns helpful text about the different subcommands.",
       .complexity = "O(1)",
       .arity = 2,
       .flags = kFlagLoading | kFlagStale,
       .acl = 0,
       .scope = Scope::kSession,
       .run = ConfigHelp,
       .parent = "config"},
      {.name = "resetstat",
       .group = "server",
       .since = "2.0.0",
       .summary = "Resets the server's statistics.",
       .complexity = "O(1)",
       .arity = 2,
       .flags = kFlags,
       .acl = 0,
       .scope = Scope::kSession,
       .run = ConfigResetstat,
       .parent = "config",
       .tips = kAllNodes},
      {.name = "rewrite",
       .group = "server",
       .since = "2.8.0",
       .summary = "Persists the effective configuration to file.",
       .complexity = "O(1)",
       .arity = 2,
       .flags = kFlags,
       .acl = 0,
       .scope = Scope::kSession,
       .run = ConfigRewriteCommand,
       .parent = "config",
       .tips = kAllNodes},
      {.name = "set",
       .group = "server",
       .since = "2.0.0",
       .summary = "Sets configuration parameters in-flight.",
       .complexity = "O(N) when N is the number of configuration parameters provided",
       .arity = -4,
       .flags = kFlags,
       .acl = 0,
       .scope = Scope::kSession,
       .run = ConfigSetCommand,
       .args = kSetArgs,
       .parent = "config",
       .history = kSetHistory,
       .tips = kAllNodes},
  };
  return kRows;
}

}  // namespace skein::node
