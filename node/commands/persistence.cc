// BGSAVE, SAVE, LASTSAVE, BGREWRITEAOF. Replies in Redis's words; "started" is said once something has (L17).
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "node/commands/families.h"
#include "node/commands/parse.h"
#include "node/node.h"
#include "storage/data_set.h"
#include "storage/saver.h"

namespace skein::node {
namespace {

// A reply that whoever comes first may give.
class OwedReply {
 public:
  explicit OwedReply(DeferredReply reply) : reply_(std::move(reply)) {}
  void Status(std::string text) {
    Give([text = std::move(text)](ReplyWriter& reply) { reply.Status(text); });
  }
  void Error(std::string text) {
    Give([text = std::move(text)](ReplyWriter& reply) { reply.Error(text); });
  }

 private:
  void Give(std::function<void(ReplyWriter&)> write) {
    if (!given_.exchange(true)) reply_.Complete(std::move(write));
  }
  std::atomic<bool> given_{false};
  DeferredReply reply_;
};

storage::Saver* SaverOf(Call& call) {
  storage::Saver* const saver = call.node->data().saver();
  if (saver == nullptr) call.reply->Error("ERR the node is starting");
  return saver;
}

std::string TextOf(const absl::Status& status) { return "ERR " + std::string(status.message()); }

void Bgsave(Call& call) {
  const bool schedule = call.argv.size() == 2 && IsWord(call.argv[1], "SCHEDULE");
  if (call.argv.size() > 1 && !schedule) return call.reply->SyntaxError();
  storage::Saver* const saver = SaverOf(call);
  if (saver == nullptr) return;
  auto owed = std::make_shared<OwedReply>(call.node->Defer(call));
  bool scheduled = false;
  const absl::Status started = saver->StartRdb(
      schedule, &scheduled,
      {.begun =
           [owed](const absl::Status& status) {
             status.ok() ? owed->Status("Background saving started")
                         : owed->Error("ERR Background saving could not start: " + std::string(status.message()));
           },
       .ended = nullptr});
  if (!started.ok()) return owed->Error(TextOf(started));
  if (scheduled) owed->Status("Background saving scheduled");
}

// Saves while others are served; this client waits.
void Save(Call& call) {
  storage::Saver* const saver = SaverOf(call);
  if (saver == nullptr) return;
  auto owed = std::make_shared<OwedReply>(call.node->Defer(call));
  bool scheduled = false;
  const absl::Status started =
      saver->StartRdb(/*schedule=*/true, &scheduled, {.begun = nullptr, .ended = [owed](const absl::Status& status) {
                                                        status.ok() ? owed->Status("OK") : owed->Error(TextOf(status));
                                                      }});
  if (!started.ok()) owed->Error(TextOf(started));
}

void Lastsave(Call& call) {
  const storage::Saver* const saver = SaverOf(call);
  if (saver != nullptr) call.reply->Integer(saver->status().last_save / 1000);
}

void Bgrewriteaof(Call& call) {
  storage::Saver* const saver = SaverOf(call);
  if (saver == nullptr) return;
  auto owed = std::make_shared<OwedReply>(call.node->Defer(call));
  bool scheduled = false;
  const absl::Status started = saver->StartRewrite(
      &scheduled, {.begun =
                       [owed](const absl::Status& status) {
                         status.ok() ? owed->Status("Background append only file rewriting started")
                                     : owed->Error("ERR Background append only file rewriting could not start: " +
                                                   std::string(status.message()));
                       },
                   .ended = nullptr});
  if (!started.ok()) return owed->Error(TextOf(started));
  if (scheduled) owed->Status("Background append only file rewriting scheduled");
}

constexpr uint32_t kAdmin = kFlagAdmin | kFlagNoscript | kFlagNoAsyncLoading;
constexpr ArgDoc kBgsaveArgs[] = {
    {.name = "schedule", .type = "pure-token", .token = "SCHEDULE", .flags = ArgDoc::kOptional, .since = "3.2.2"}};
constexpr CommandNote kBgsaveHistory[] = {{"3.2.2", "Added the `SCHEDULE` option."}};
constexpr const char* kLastsaveTips[] = {"nondeterministic_output"};

}  // namespace

std::span<const CommandSpec> PersistenceCommands() {
  static const CommandSpec kRows[] = {
      {.name = "bgrewriteaof",
       .group = "server",
       .since = "1.0.0",
       .summary = "Asynchronously rewrites the append-only file to disk.",
       .complexity = "O(1)",
       .arity = 1,
       .flags = kAdmin,
       .acl = 0,
       .scope = Scope::kSession,
       .run = Bgrewriteaof},
      {.name = "bgsave",
       .group = "server",
       .since = "1.0.0",
       .summary = "Asynchronously saves the database(s) to disk.",
       .complexity = "O(1)",
       .arity = -1,
       .flags = kAdmin,
       .acl = 0,
       .scope = Scope::kSession,
       .run = Bgsave,
       .args = kBgsaveArgs,
       .history = kBgsaveHistory},
      {.name = "lastsave",
       .group = "server",
       .since = "1.0.0",
       .summary = "Returns the Unix timestamp of the last successful save to disk.",
       .complexity = "O(1)",
       .arity = 1,
       .flags = kFlagLoading | kFlagStale | kFlagFast,
       .acl = kAclAdmin | kAclDangerous,
       .scope = Scope::kSession,
       .run = Lastsave,
       .tips = kLastsaveTips},
      {.name = "save",
       .group = "server",
       .since = "1.0.0",
       .summary = "Synchronously saves the database(s) to disk.",
       .complexity = "O(N) where N is the total number of keys in all databases",
       .arity = 1,
       .flags = kAdmin | kFlagNoMulti,
       .acl = 0,
       .scope = Scope::kSession,
       .run = Save},
  };
  return kRows;
}

}  // namespace skein::node
