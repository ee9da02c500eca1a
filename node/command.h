// The command table's row. Everything about a command stands in its row (node/commands/*.cc): COMMAND and its docs, key
// specifications, ACL categories, arity errors and routing are generated from it.
#ifndef SKEIN_NODE_COMMAND_H_
#define SKEIN_NODE_COMMAND_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "node/call.h"

namespace skein::node {

enum class Scope : uint8_t { kSession, kShard, kAllShards };

// COMMAND flags, as Redis names them.
enum CommandFlag : uint32_t {
  kFlagWrite = 1u << 0,
  kFlagReadonly = 1u << 1,
  kFlagDenyOom = 1u << 2,
  kFlagAdmin = 1u << 3,
  kFlagPubsub = 1u << 4,
  kFlagNoscript = 1u << 5,
  kFlagBlocking = 1u << 6,
  kFlagLoading = 1u << 7,
  kFlagStale = 1u << 8,
  kFlagSkipMonitor = 1u << 9,
  kFlagSkipSlowlog = 1u << 10,
  kFlagAsking = 1u << 11,
  kFlagFast = 1u << 12,
  kFlagNoAuth = 1u << 13,
  kFlagMayReplicate = 1u << 14,
  kFlagNoMandatoryKeys = 1u << 15,
  kFlagAllowBusy = 1u << 16,
  kFlagNoMulti = 1u << 17,
  kFlagMovableKeys = 1u << 18,
  kFlagNoAsyncLoading = 1u << 19,
};

// ACL categories, as Redis names them ("@keyspace", …).
enum AclCategory : uint32_t {
  kAclKeyspace = 1u << 0,
  kAclRead = 1u << 1,
  kAclWrite = 1u << 2,
  kAclSet = 1u << 3,
  kAclSortedSet = 1u << 4,
  kAclList = 1u << 5,
  kAclHash = 1u << 6,
  kAclString = 1u << 7,
  kAclBitmap = 1u << 8,
  kAclHyperLogLog = 1u << 9,
  kAclGeo = 1u << 10,
  kAclStream = 1u << 11,
  kAclPubsub = 1u << 12,
  kAclAdmin = 1u << 13,
  kAclFast = 1u << 14,
  kAclSlow = 1u << 15,
  kAclBlocking = 1u << 16,
  kAclDangerous = 1u << 17,
  kAclConnection = 1u << 18,
  kAclTransaction = 1u << 19,
  kAclScripting = 1u << 20,
};

// A key specification (COMMAND INFO, "key specs"): index or keyword search, range or keynum.
struct KeySpec {
  enum Flag : uint32_t {
    kRo = 1,
    kRw = 2,
    kOw = 4,
    kRm = 8,
    kAccess = 16,
    kUpdate = 32,
    kInsert = 64,
    kDelete = 128,
    kNotKey = 256,
    kIncomplete = 512,
    kVariableFlags = 1024,
  };
  uint32_t flags = 0;
  const char* keyword = nullptr;                         // null: begin_search by index
  int index = 1;                                         // index, or where the keyword search starts
  bool by_keynum = false;                                // find_keys: keynum instead of range
  int last_key = 0, step = 1, limit = 0;                 // range
  int keynum_index = 0, first_key = 0, keynum_step = 1;  // keynum
  const char* notes = nullptr;                           // for COMMAND INFO only
};

// An argument in COMMAND DOCS.
struct ArgDoc {
  const char* name;
  const char* type;             // "key", "string", "integer", "pure-token", "oneof", "block", "unix-time", …
  const char* token = nullptr;  // the literal word, if any
  uint32_t flags = 0;           // kOptional, kMultiple, kMultipleToken
  std::span<const ArgDoc> arguments = {};
  int key_spec_index = -1;
  const char* since = nullptr;
  static constexpr uint32_t kOptional = 1, kMultiple = 2, kMultipleToken = 4;
};

// A line of a command's history in COMMAND DOCS.
struct CommandNote {
  const char* since;
  const char* text;
};

struct CommandSpec {
  const char* name;   // lower case; a subcommand has its own word only ("setname")
  const char* group;  // "string", "generic", "connection", "server", "cluster"
  const char* since;  // of Redis
  const char* summary;
  const char* complexity;
  int arity;  // as Redis: negative is a minimum
  uint32_t flags;
  uint32_t acl;  // explicit categories; the implied ones are derived
  Scope scope;
  // Null for a container that does nothing by itself (OBJECT, CLIENT, …): with an unknown subcommand, UnknownCommand.
  void (*run)(Call&);
  std::span<const KeySpec> keys = {};
  std::span<const ArgDoc> args = {};
  std::span<const CommandSpec> subcommands = {};
  // kAllShards: makes the reply of the shards' partials.
  void (*merge)(Call&, std::span<const std::string_view> partials) = nullptr;
  // kShard without keys: the slot whose shard runs it (SCAN by cursor, CLUSTER COUNTKEYSINSLOT). nullopt: `run` is
  // called on the session's loop with shard == null, to write the error.
  std::optional<uint16_t> (*route)(Args) = nullptr;
  const char* parent = nullptr;  // of a subcommand: the container's name
  // For COMMAND DOCS and COMMAND INFO only.
  std::span<const CommandNote> history = {};
  std::span<const char* const> tips = {};
  const char* deprecated_since = nullptr;  // set: the command is deprecated
  const char* replaced_by = nullptr;
};

// The command of these words (container subcommands resolved), or null. Case-insensitive; no allocation; any thread.
// For a container with an unknown subcommand the container's own row is returned.
const CommandSpec* FindCommand(Args argv);
// The command of this name, as COMMAND INFO takes it: "get", "object|freq". Null if there is none.
const CommandSpec* FindCommandByName(std::string_view name);
// All commands, containers not expanded.
std::span<const CommandSpec* const> AllCommands();
// Number of words is right for the command.
inline bool ArityOk(const CommandSpec& spec, size_t argc) {
  return spec.arity >= 0 ? argc == static_cast<size_t>(spec.arity) : argc >= static_cast<size_t>(-spec.arity);
}
// Positions of the keys in argv, by the key specifications. Empty if there are none. Returns false if the arguments are
// invalid for the specification (keynum not a number, …).
bool FindKeys(const CommandSpec& spec, Args argv, std::vector<uint32_t>* positions);
// "ERR unknown command 'x', with args beginning with: 'a' 'b' " and the arity and subcommand errors, as Redis words
// them.
void UnknownCommand(Args argv, ReplyWriter* reply);
void WrongArity(const CommandSpec& spec, ReplyWriter* reply);

}  // namespace skein::node

#endif  // SKEIN_NODE_COMMAND_H_
