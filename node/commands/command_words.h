// The words that COMMAND has for flags and categories, in the order in which Redis lists them.
#ifndef SKEIN_NODE_COMMANDS_COMMAND_WORDS_H_
#define SKEIN_NODE_COMMANDS_COMMAND_WORDS_H_

#include <cstdint>
#include <span>
#include <string>

#include "node/command.h"

namespace skein::node {

struct FlagWord {
  uint32_t flag;
  const char* word;
};

inline constexpr FlagWord kCommandFlagWords[] = {
    {kFlagWrite, "write"},
    {kFlagReadonly, "readonly"},
    {kFlagDenyOom, "denyoom"},
    {kFlagAdmin, "admin"},
    {kFlagPubsub, "pubsub"},
    {kFlagNoscript, "noscript"},
    {kFlagBlocking, "blocking"},
    {kFlagLoading, "loading"},
    {kFlagStale, "stale"},
    {kFlagSkipMonitor, "skip_monitor"},
    {kFlagSkipSlowlog, "skip_slowlog"},
    {kFlagAsking, "asking"},
    {kFlagFast, "fast"},
    {kFlagNoAuth, "no_auth"},
    {kFlagMayReplicate, "may_replicate"},
    {kFlagNoMandatoryKeys, "no_mandatory_keys"},
    {kFlagNoAsyncLoading, "no_async_loading"},
    {kFlagNoMulti, "no_multi"},
    {kFlagMovableKeys, "movablekeys"},
    {kFlagAllowBusy, "allow_busy"},
};

inline constexpr FlagWord kAclCategoryWords[] = {
    {kAclKeyspace, "@keyspace"},
    {kAclRead, "@read"},
    {kAclWrite, "@write"},
    {kAclSet, "@set"},
    {kAclSortedSet, "@sortedset"},
    {kAclList, "@list"},
    {kAclHash, "@hash"},
    {kAclString, "@string"},
    {kAclBitmap, "@bitmap"},
    {kAclHyperLogLog, "@hyperloglog"},
    {kAclGeo, "@geo"},
    {kAclStream, "@stream"},
    {kAclPubsub, "@pubsub"},
    {kAclAdmin, "@admin"},
    {kAclFast, "@fast"},
    {kAclSlow, "@slow"},
    {kAclBlocking, "@blocking"},
    {kAclDangerous, "@dangerous"},
    {kAclConnection, "@connection"},
    {kAclTransaction, "@transaction"},
    {kAclScripting, "@scripting"},
};

inline constexpr FlagWord kKeySpecFlagWords[] = {
    {KeySpec::kRo, "RO"},
    {KeySpec::kRw, "RW"},
    {KeySpec::kOw, "OW"},
    {KeySpec::kRm, "RM"},
    {KeySpec::kAccess, "access"},
    {KeySpec::kUpdate, "update"},
    {KeySpec::kInsert, "insert"},
    {KeySpec::kDelete, "delete"},
    {KeySpec::kNotKey, "not_key"},
    {KeySpec::kIncomplete, "incomplete"},
    {KeySpec::kVariableFlags, "variable_flags"},
};

inline constexpr FlagWord kArgFlagWords[] = {
    {ArgDoc::kOptional, "optional"},
    {ArgDoc::kMultiple, "multiple"},
    {ArgDoc::kMultipleToken, "multiple_token"},
};

// All categories of a command: those of its row and those that its flags imply.
inline uint32_t CategoriesOf(const CommandSpec& spec) {
  uint32_t acl = spec.acl;
  if ((spec.flags & kFlagWrite) != 0) acl |= kAclWrite;
  if ((spec.flags & kFlagReadonly) != 0 && (acl & kAclScripting) == 0) acl |= kAclRead;
  if ((spec.flags & kFlagAdmin) != 0) acl |= kAclAdmin | kAclDangerous;
  if ((spec.flags & kFlagPubsub) != 0) acl |= kAclPubsub;
  if ((spec.flags & kFlagBlocking) != 0) acl |= kAclBlocking;
  return acl | ((spec.flags & kFlagFast) != 0 ? kAclFast : kAclSlow);
}

// The words of the flags that are set, as a set of status replies.
inline void ReplyWords(ReplyWriter& reply, std::span<const FlagWord> words, uint32_t flags) {
  size_t n = 0;
  for (const FlagWord& w : words) n += (flags & w.flag) != 0 ? 1 : 0;
  reply.Set(n);
  for (const FlagWord& w : words) {
    if ((flags & w.flag) != 0) reply.Status(w.word);
  }
}

// "get", "object|freq".
inline std::string FullName(const CommandSpec& spec) {
  return spec.parent == nullptr ? std::string(spec.name) : std::string(spec.parent).append("|").append(spec.name);
}

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMANDS_COMMAND_WORDS_H_
