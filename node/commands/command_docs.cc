// COMMAND DOCS.
#include <string>
#include <vector>

#include "node/command.h"
#include "node/commands/command.h"
#include "node/commands/command_words.h"

namespace skein::node {
namespace {

void Pair(ReplyWriter& reply, const char* name, const char* value) {
  reply.Bulk(name);
  reply.Bulk(value);
}

void ReplyArguments(ReplyWriter& reply, std::span<const ArgDoc> args) {
  reply.Array(args.size());
  for (const ArgDoc& arg : args) {
    const bool has_key = arg.key_spec_index >= 0;
    reply.Map(2 + (has_key ? 1 : 0) + (arg.token != nullptr ? 1 : 0) + (arg.since != nullptr ? 1 : 0) +
              (arg.flags != 0 ? 1 : 0) + (arg.arguments.empty() ? 0 : 1));
    Pair(reply, "name", arg.name);
    Pair(reply, "type", arg.type);
    if (has_key) {
      reply.Bulk("key_spec_index");
      reply.Integer(arg.key_spec_index);
    }
    if (arg.token != nullptr) Pair(reply, "token", arg.token);
    if (arg.since != nullptr) Pair(reply, "since", arg.since);
    if (arg.flags != 0) {
      reply.Bulk("flags");
      ReplyWords(reply, kArgFlagWords, arg.flags);
    }
    if (!arg.arguments.empty()) {
      reply.Bulk("arguments");
      ReplyArguments(reply, arg.arguments);
    }
  }
}

void ReplyDocs(ReplyWriter& reply, const CommandSpec& spec) {
  const bool deprecated = spec.deprecated_since != nullptr;
  reply.Map(3 + (spec.complexity != nullptr ? 1 : 0) + (deprecated ? 2 : 0) + (spec.replaced_by != nullptr ? 1 : 0) +
            (spec.history.empty() ? 0 : 1) + (spec.args.empty() ? 0 : 1) + (spec.subcommands.empty() ? 0 : 1));
  Pair(reply, "summary", spec.summary);
  Pair(reply, "since", spec.since);
  Pair(reply, "group", spec.group);
  if (spec.complexity != nullptr) Pair(reply, "complexity", spec.complexity);
  if (deprecated) {
    reply.Bulk("doc_flags");
    reply.Set(1);
    reply.Status("deprecated");
    Pair(reply, "deprecated_since", spec.deprecated_since);
  }
  if (spec.replaced_by != nullptr) Pair(reply, "replaced_by", spec.replaced_by);
  if (!spec.history.empty()) {
    reply.Bulk("history");
    reply.Set(spec.history.size());
    for (const CommandNote& note : spec.history) {
      reply.Array(2);
      reply.Bulk(note.since);
      reply.Bulk(note.text);
    }
  }
  if (!spec.args.empty()) {
    reply.Bulk("arguments");
    ReplyArguments(reply, spec.args);
  }
  if (!spec.subcommands.empty()) {
    reply.Bulk("subcommands");
    reply.Map(spec.subcommands.size());
    for (const CommandSpec& sub : spec.subcommands) {
      reply.Bulk(FullName(sub));
      ReplyDocs(reply, sub);
    }
  }
}

}  // namespace

void RunCommandDocs(Call& call) {
  std::vector<const CommandSpec*> specs;
  if (call.argv.size() == 2) {
    specs.assign(AllCommands().begin(), AllCommands().end());
  } else {
    for (const std::string_view name : call.argv.subspan(2)) {
      if (const CommandSpec* spec = FindCommandByName(name)) specs.push_back(spec);
    }
  }
  call.reply->Map(specs.size());
  for (const CommandSpec* spec : specs) {
    call.reply->Bulk(FullName(*spec));
    ReplyDocs(*call.reply, *spec);
  }
}

}  // namespace skein::node
