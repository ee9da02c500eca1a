// Commands on their way to the loop that hosts their shard, and their replies on the way back: one object for both, so
// the room for the answer is there before the question leaves.
#ifndef SKEIN_NODE_HANDOVER_H_
#define SKEIN_NODE_HANDOVER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "node/buffer.h"
#include "node/command.h"
#include "node/mailbox.h"
#include "storage/types.h"

namespace skein::node {

struct RemoteCommand {
  const CommandSpec* spec;
  Caller caller;
  uint64_t session_id;
  uint64_t sequence;  // of the session's segment that waits for it
  uint32_t argv_begin, argc;
  uint32_t shard;
  uint16_t slot;       // kNoSlot: it looks at the whole shard
  int32_t key_index;   // of the first key in argv; -1: none
  bool multiple_keys;  // CROSSSLOT has been ruled out
  // The answer.
  bool rejected = false;  // not executed: redirection, MISCONF
  size_t reply_end = 0;
  uint64_t cycles = 0;
  storage::Lsn lsn = 0;    // what the reply must wait for; 0: nothing
  storage::Lsn wrote = 0;  // end of the record it appended; 0: none
};

class HandoverBatch final : public Message {
 public:
  // Limits of one batch; with the credits of a (source, target) pair they bound what lies in mailboxes.
  static constexpr size_t kMaxCommands = 256;
  static constexpr size_t kMaxBytes = 1u << 20;  // a single larger command goes alone

  void Run(LoopImpl& loop, std::unique_ptr<Message> self) override;
  bool full() const { return commands.size() >= kMaxCommands || bytes.size() >= kMaxBytes; }
  void AddArgs(Args argv);
  // Ready for use again; large buffers are given back.
  void Reset();
  // Whether all commands from `next` on are of these sessions.
  bool AllOf(const std::unordered_set<uint64_t>& sessions) const;
  // Takes the commands from `next` on that are of these sessions into a batch of their own, in order; null: none are.
  std::unique_ptr<HandoverBatch> SplitOff(const std::unordered_set<uint64_t>& sessions);

  uint32_t source = 0, target = 0;
  bool answered = false;
  bool counted = true;  // it holds a credit of its source; one that was split off does not, and is bounded by its
                        // sessions' segments
  size_t next = 0;      // the first command not executed yet
  std::vector<RemoteCommand> commands;
  Buffer bytes;  // the arguments, one after the other
  std::vector<uint32_t> arg_sizes;
  std::vector<std::string_view> argv;  // made by the target, views into `bytes`
  std::vector<std::optional<storage::Key>> keys;
  Buffer replies;
};

}  // namespace skein::node

#endif  // SKEIN_NODE_HANDOVER_H_
