// COMMAND, COMMAND INFO, COUNT, LIST, HELP.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "node/command.h"
#include "node/commands/command.h"
#include "node/commands/command_words.h"
#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/util/glob.h"

namespace skein::node {
namespace {

// What clients that know nothing of key specifications go by: the range of the positions of keys. Zeros if there is
// none, or if the specifications do not make one range.
struct LegacyRange {
  int first = 0, last = 0, step = 0;
};

LegacyRange RangeOf(const CommandSpec& spec) {
  const auto is_range = [](const KeySpec& k) { return k.keyword == nullptr && !k.by_keynum; };
  const auto last_of = [](const KeySpec& k) { return k.last_key >= 0 ? k.index + k.last_key : k.last_key; };
  if (spec.keys.empty()) return {};
  if (spec.keys.size() == 1) {
    const KeySpec& k = spec.keys[0];
    return is_range(k) ? LegacyRange{k.index, last_of(k), k.step} : LegacyRange{};
  }
  LegacyRange range;
  for (const KeySpec& k : spec.keys) {
    if (!is_range(k) || k.step != 1) continue;
    if (range.first != 0 && range.last != k.index - 1) break;  // a gap: what comes before it is the range
    if (range.first == 0) range.first = k.index;
    range.last = last_of(k);
    range.step = 1;
  }
  return range;
}

void ReplyKeySpec(ReplyWriter& reply, const KeySpec& k) {
  reply.Map(k.notes != nullptr ? 4 : 3);
  if (k.notes != nullptr) {
    reply.Bulk("notes");
    reply.Bulk(k.notes);
  }
  reply.Bulk("flags");
  ReplyWords(reply, kKeySpecFlagWords, k.flags);

  reply.Bulk("begin_search");
  reply.Map(2);
  reply.Bulk("type");
  reply.Bulk(k.keyword != nullptr ? "keyword" : "index");
  reply.Bulk("spec");
  if (k.keyword != nullptr) {
    reply.Map(2);
    reply.Bulk("keyword");
    reply.Bulk(k.keyword);
    reply.Bulk("startfrom");
  } else {
    reply.Map(1);
    reply.Bulk("index");
  }
  reply.Integer(k.index);

  const auto pair = [&reply](const char* name, int value) {
    reply.Bulk(name);
    reply.Integer(value);
  };
  reply.Bulk("find_keys");
  reply.Map(2);
  reply.Bulk("type");
  reply.Bulk(k.by_keynum ? "keynum" : "range");
  reply.Bulk("spec");
  reply.Map(3);
  if (k.by_keynum) {
    pair("keynumidx", k.keynum_index);
    pair("firstkey", k.first_key);
    pair("keystep", k.keynum_step);
  } else {
    pair("lastkey", k.last_key);
    pair("keystep", k.step);
    pair("limit", k.limit);
  }
}

void ReplyInfo(ReplyWriter& reply, const CommandSpec& spec) {
  const LegacyRange range = RangeOf(spec);
  reply.Array(10);
  reply.Bulk(FullName(spec));
  reply.Integer(spec.arity);
  ReplyWords(reply, kCommandFlagWords, spec.flags);
  reply.Integer(range.first);
  reply.Integer(range.last);
  reply.Integer(range.step);
  ReplyWords(reply, kAclCategoryWords, CategoriesOf(spec));
  reply.Set(spec.tips.size());
  for (const char* tip : spec.tips) reply.Bulk(tip);
  reply.Set(spec.keys.size());
  for (const KeySpec& k : spec.keys) ReplyKeySpec(reply, k);
  reply.Set(spec.subcommands.size());
  for (const CommandSpec& sub : spec.subcommands) ReplyInfo(reply, sub);
}

void ReplyAllInfo(ReplyWriter& reply) {
  const auto all = AllCommands();
  reply.Array(all.size());
  for (const CommandSpec* spec : all) ReplyInfo(reply, *spec);
}

// The category of this name (without '@'), 0 if there is none.
uint32_t CategoryOf(std::string_view name) {
  for (const FlagWord& w : kAclCategoryWords) {
    if (IsWord(name, std::string_view(w.word).substr(1))) return w.flag;
  }
  return 0;
}

}  // namespace

void RunCommand(Call& call) {
  if (call.argv.size() > 1) return UnknownCommand(call.argv, call.reply);
  ReplyAllInfo(*call.reply);
}

void RunCommandCount(Call& call) { call.reply->Integer(static_cast<int64_t>(AllCommands().size())); }

void RunCommandInfo(Call& call) {
  if (call.argv.size() == 2) return ReplyAllInfo(*call.reply);
  call.reply->Array(call.argv.size() - 2);
  for (const std::string_view name : call.argv.subspan(2)) {
    const CommandSpec* spec = FindCommandByName(name);
    if (spec == nullptr) {
      call.reply->Null();
    } else {
      ReplyInfo(*call.reply, *spec);
    }
  }
}

void RunCommandList(Call& call) {
  enum class Filter { kNone, kModule, kCategory, kPattern } filter = Filter::kNone;
  std::string_view word;
  if (call.argv.size() != 2) {
    if (call.argv.size() != 5 || !IsWord(call.argv[2], "filterby")) return call.reply->SyntaxError();
    word = call.argv[4];
    if (IsWord(call.argv[3], "module")) {
      filter = Filter::kModule;  // there are no modules
    } else if (IsWord(call.argv[3], "aclcat")) {
      filter = Filter::kCategory;
    } else if (IsWord(call.argv[3], "pattern")) {
      filter = Filter::kPattern;
    } else {
      return call.reply->SyntaxError();
    }
  }
  const uint32_t category = filter == Filter::kCategory ? CategoryOf(word) : 0;
  std::vector<std::string> names;
  const auto offer = [&](const CommandSpec& spec) {
    std::string name = FullName(spec);
    const bool wanted = filter == Filter::kNone ||
                        (filter == Filter::kCategory && (CategoriesOf(spec) & category) != 0) ||
                        (filter == Filter::kPattern && GlobMatch(word, name, GlobCase::kIgnore));
    if (wanted) names.push_back(std::move(name));
  };
  for (const CommandSpec* spec : AllCommands()) {
    offer(*spec);
    for (const CommandSpec& sub : spec->subcommands) offer(sub);
  }
  call.reply->Array(names.size());
  for (const std::string& name : names) call.reply->Bulk(name);
}

void RunCommandHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "(no subcommand)",
      "    Return details about all Redis commands.",
      "COUNT",
      "    Return the total number of commands in this Redis server.",
      "LIST",
      "    Return a list of all commands in this Redis server.",
      "INFO [<command-name> ...]",
      "    Return details about multiple Redis commands.",
      "    If no command names are given, documentation details for all",
      "    commands are returned.",
      "DOCS [<command-name> ...]",
      "    Return documentation details about multiple Redis commands.",
      "    If no command names are given, documentation details for all",
      "    commands are returned.",
      "GETKEYS <full-command>",
      "    Return the keys from a full Redis command.",
      "GETKEYSANDFLAGS <full-command>",
      "    Return the keys and the access flags from a full Redis command.",
  };
  ReplyHelp(call, "COMMAND", kLines);
}

}  // namespace skein::node
