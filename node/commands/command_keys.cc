// COMMAND GETKEYS and GETKEYSANDFLAGS.
#include <cstdint>
#include <vector>

#include "node/command.h"
#include "node/commands/command.h"
#include "node/commands/command_words.h"
#include "node/commands/parse.h"

namespace skein::node {
namespace {

// What the command does with the key at `position`. Where a specification says that this depends on the arguments
// (SET only, so far), the arguments are looked at.
uint32_t FlagsOf(const CommandSpec& spec, Args argv, uint32_t position) {
  for (const KeySpec& k : spec.keys) {
    CommandSpec one = spec;
    one.keys = {&k, 1};
    std::vector<uint32_t> positions;
    FindKeys(one, argv, &positions);
    for (const uint32_t p : positions) {
      if (p != position) continue;
      if ((k.flags & KeySpec::kVariableFlags) == 0) return k.flags;
      for (const std::string_view word : argv.subspan(3)) {
        if (IsWord(word, "get")) return KeySpec::kRw | KeySpec::kAccess | KeySpec::kUpdate;
      }
      return KeySpec::kOw | KeySpec::kUpdate;
    }
  }
  return 0;
}

void GetKeys(Call& call, bool with_flags) {
  const Args argv = call.argv.subspan(2);
  const CommandSpec* spec = FindCommand(argv);
  if (spec == nullptr || (spec->parent == nullptr && !spec->subcommands.empty() && argv.size() > 1)) {
    return call.reply->Error("ERR Invalid command specified");
  }
  if (spec->keys.empty()) return call.reply->Error("ERR The command has no key arguments");
  if (!ArityOk(*spec, argv.size())) {
    return call.reply->Error("ERR Invalid number of arguments specified for command");
  }
  std::vector<uint32_t> positions;
  if (!FindKeys(*spec, argv, &positions) || positions.empty()) {
    if ((spec->flags & kFlagNoMandatoryKeys) != 0) return call.reply->Array(0);
    return call.reply->Error("ERR Invalid arguments specified for command");
  }
  call.reply->Array(positions.size());
  for (const uint32_t p : positions) {
    if (with_flags) call.reply->Array(2);
    call.reply->Bulk(argv[p]);
    if (with_flags) ReplyWords(*call.reply, kKeySpecFlagWords, FlagsOf(*spec, argv, p));
  }
}

}  // namespace

void RunCommandGetkeys(Call& call) { GetKeys(call, false); }

void RunCommandGetkeysandflags(Call& call) { GetKeys(call, true); }

}  // namespace skein::node
