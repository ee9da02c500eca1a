// Publish and subscribe. Subscriptions belong to the session's loop (node/publish.cc); what looks at those of all loops
// is gathered.
// Source: the Redis 7.2 documentation of each command; replies compared with redis-server 7.0.15.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "node/commands/families.h"
#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/config/config.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/pubsub/registry.h"
#include "node/util/glob.h"
#include "storage/slot.h"

namespace skein::node {
namespace {

using Kind = SubscriptionKind;

template <Kind kKind>
void Subscribe(Call& call) {
  call.loop->Subscribe(*call.session, kKind, call.argv.subspan(1));
}

template <Kind kKind>
void Unsubscribe(Call& call) {
  call.loop->Unsubscribe(*call.session, kKind, call.argv.subspan(1));
}

// Whether shard channels of these names are this node's to serve; else the error has been written.
bool MayUse(Call& call, Args channels) {
  if (!call.config->cluster_enabled || channels.empty()) return true;
  const uint16_t slot = storage::KeySlot(channels[0]);
  for (const std::string_view channel : channels.subspan(1)) {
    if (storage::KeySlot(channel) != slot) {
      call.reply->Error("CROSSSLOT Keys in request don't hash to the same slot");
      return false;
    }
  }
  return call.loop->ServesChannels(slot, call.caller, call.reply);
}

void SSubscribe(Call& call) {
  if (MayUse(call, call.argv.subspan(1))) Subscribe<Kind::kShardChannel>(call);
}

void SUnsubscribe(Call& call) {
  if (MayUse(call, call.argv.subspan(1))) Unsubscribe<Kind::kShardChannel>(call);
}

void Publish(Call& call) { call.loop->Publish(call, /*sharded=*/false); }

void SPublish(Call& call) {
  if (MayUse(call, call.argv.subspan(1, 1))) call.loop->Publish(call, /*sharded=*/true);
}

// ---- PUBSUB --------------------------------------------------------------------------------------------------------

// Names between the loops: each after its length and a colon.
void AddName(std::string* text, std::string_view name) {
  text->append(std::to_string(name.size())).append(":").append(name);
}

std::set<std::string_view> NamesOf(const std::vector<std::string>& parts) {
  std::set<std::string_view> names;
  for (const std::string& part : parts) {
    for (std::string_view rest = part; !rest.empty();) {
      const size_t colon = rest.find(':');
      int64_t size = 0;
      ParseInt64(rest.substr(0, colon), &size);
      names.insert(rest.substr(colon + 1, static_cast<size_t>(size)));
      rest.remove_prefix(colon + 1 + static_cast<size_t>(size));
    }
  }
  return names;
}

// What somebody on any loop is subscribed to, each once.
void GatherNames(Call& call, Kind kind, std::optional<std::string> pattern,
                 void (*write)(ReplyWriter&, const std::set<std::string_view>&)) {
  call.node->GatherLoops(
      call,
      [kind, pattern = std::move(pattern)](Loop& loop) {
        std::string names;
        loop.subscriptions().ForEach(kind, [&](const Channel& channel) {
          if (!pattern.has_value() || GlobMatch(*pattern, channel.name)) AddName(&names, channel.name);
        });
        return names;
      },
      [write](ReplyWriter& reply, const std::vector<std::string>& parts) { write(reply, NamesOf(parts)); });
}

template <Kind kKind>
void Channels(Call& call) {
  if (call.argv.size() > 3) {
    std::string text = "ERR unknown subcommand or wrong number of arguments for '";
    text.append(call.argv[1]).append("'. Try PUBSUB HELP.");
    return call.reply->Error(text);
  }
  std::optional<std::string> pattern;
  if (call.argv.size() == 3) pattern = call.argv[2];
  GatherNames(call, kKind, std::move(pattern), [](ReplyWriter& reply, const std::set<std::string_view>& names) {
    reply.Array(names.size());
    for (const std::string_view name : names) reply.Bulk(name);
  });
}

void NumPat(Call& call) {
  GatherNames(call, Kind::kPattern, std::nullopt, [](ReplyWriter& reply, const std::set<std::string_view>& names) {
    reply.Integer(static_cast<int64_t>(names.size()));
  });
}

template <Kind kKind>
void NumSub(Call& call) {
  const Args words = call.argv.subspan(2);
  const std::vector<std::string> names(words.begin(), words.end());
  call.node->GatherLoops(
      call,
      [names](Loop& loop) {
        std::string counts;
        for (const std::string& name : names) {
          counts += std::to_string(loop.subscriptions().subscribers(kKind, name)) + ' ';
        }
        return counts;
      },
      [names](ReplyWriter& reply, const std::vector<std::string>& parts) {
        std::vector<int64_t> sums(names.size());
        for (const std::string& part : parts) {
          std::string_view rest = part;
          for (int64_t& sum : sums) {
            const size_t end = rest.find(' ');
            int64_t n = 0;
            ParseInt64(rest.substr(0, end), &n);
            sum += n;
            rest.remove_prefix(end + 1);
          }
        }
        reply.Array(names.size() * 2);
        for (size_t i = 0; i < names.size(); ++i) {
          reply.Bulk(names[i]);
          reply.Integer(sums[i]);
        }
      });
}

void PubsubHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "CHANNELS [<pattern>]",
      "    Return the currently active channels matching a <pattern> (default: '*').",
      "NUMPAT",
      "    Return number of subscriptions to patterns.",
      "NUMSUB [<channel> ...]",
      "    Return the number of subscribers for the specified channels, excluding",
      "    pattern subscriptions(default: no channels).",
      "SHARDCHANNELS [<pattern>]",
      "    Return the currently active shard level channels matching a <pattern> (default: '*').",
      "SHARDNUMSUB [<shardchannel> ...]",
      "    Return the number of subscribers for the specified shard level channel(s)",
  };
  ReplyHelp(call, "PUBSUB", kLines);
}

// ---- Rows ----------------------------------------------------------------------------------------------------------

constexpr uint32_t kSubscribing = kFlagPubsub | kFlagNoscript | kFlagLoading | kFlagStale;
constexpr uint32_t kPublishing = kFlagPubsub | kFlagLoading | kFlagStale | kFlagFast;
constexpr uint32_t kLooking = kFlagPubsub | kFlagLoading | kFlagStale;

constexpr uint32_t kSome = ArgDoc::kMultiple, kAny = ArgDoc::kMultiple | ArgDoc::kOptional;
constexpr ArgDoc kChannels[] = {{.name = "channel", .type = "string", .flags = kSome}};
constexpr ArgDoc kAnyChannels[] = {{.name = "channel", .type = "string", .flags = kAny}};
constexpr ArgDoc kShardChannels[] = {{.name = "shardchannel", .type = "string", .flags = kSome}};
constexpr ArgDoc kAnyShardChannels[] = {{.name = "shardchannel", .type = "string", .flags = kAny}};
constexpr ArgDoc kPatterns[] = {{.name = "pattern", .type = "pattern", .flags = kSome}};
constexpr ArgDoc kAnyPatterns[] = {{.name = "pattern", .type = "pattern", .flags = kAny}};
constexpr ArgDoc kOnePattern[] = {{.name = "pattern", .type = "pattern", .flags = ArgDoc::kOptional}};
constexpr ArgDoc kPublishArgs[] = {{.name = "channel", .type = "string"}, {.name = "message", .type = "string"}};
constexpr ArgDoc kSPublishArgs[] = {{.name = "shardchannel", .type = "string"}, {.name = "message", .type = "string"}};
constexpr KeySpec kAllChannelKeys[] = {{.flags = KeySpec::kNotKey, .last_key = -1}};
constexpr KeySpec kOneChannelKey[] = {{.flags = KeySpec::kNotKey}};

CommandSpec Row(const char* name, const char* since, int arity, uint32_t flags, void (*run)(Call&), const char* summary,
                const char* complexity, std::span<const ArgDoc> args, std::span<const KeySpec> keys = {}) {
  return {.name = name,
          .group = "pubsub",
          .since = since,
          .summary = summary,
          .complexity = complexity,
          .arity = arity,
          .flags = flags,
          .acl = 0,
          .scope = Scope::kSession,
          .run = run,
          .keys = keys,
          .args = args};
}

CommandSpec Sub(CommandSpec row) {
  row.parent = "pubsub";
  return row;
}

std::span<const CommandSpec> PubsubSubcommands() {
  static const CommandSpec kRows[] = {
      Sub(Row("channels", "2.8.0", -2, kLooking, Channels<Kind::kChannel>, "Returns the active channels.",
              "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively "
              "short channels and patterns)",
              kOnePattern)),
      Sub(Row("help", "6.2.0", 2, kFlagLoading | kFlagStale, PubsubHelp,
              "Returns helpful text about the different subcommands.", "O(1)", {})),
      Sub(Row("numpat", "2.8.0", 2, kLooking, NumPat, "Returns a count of unique pattern subscriptions.", "O(1)", {})),
      Sub(Row("numsub", "2.8.0", -2, kLooking, NumSub<Kind::kChannel>, "Returns a count of subscribers to channels.",
              "O(N) for the NUMSUB subcommand, where N is the number of requested channels", kAnyChannels)),
      Sub(Row("shardchannels", "7.0.0", -2, kLooking, Channels<Kind::kShardChannel>,
              "Returns the active shard channels.",
              "O(N) where N is the number of active shard channels, and assuming constant time pattern matching "
              "(relatively short shard channels).",
              kOnePattern)),
      Sub(Row("shardnumsub", "7.0.0", -2, kLooking, NumSub<Kind::kShardChannel>,
              "Returns the count of subscribers of shard channels.",
              "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
              kAnyShardChannels)),
  };
  return kRows;
}

}  // namespace

std::span<const CommandSpec> PubsubCommands() {
  static const CommandSpec kRows[] = {
      Row("psubscribe", "2.0.0", -2, kSubscribing, Subscribe<Kind::kPattern>,
          "Listens for messages published to channels that match one or more patterns.",
          "O(N) where N is the number of patterns to subscribe to.", kPatterns),
      Row("publish", "2.0.0", 3, kPublishing, Publish, "Posts a message to a channel.",
          "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of "
          "subscribed patterns (by any client).",
          kPublishArgs),
      {.name = "pubsub",
       .group = "pubsub",
       .since = "2.8.0",
       .summary = "A container for Pub/Sub commands.",
       .complexity = "Depends on subcommand.",
       .arity = -2,
       .flags = 0,
       .acl = 0,
       .scope = Scope::kSession,
       .run = nullptr,
       .subcommands = PubsubSubcommands()},
      Row("punsubscribe", "2.0.0", -1, kSubscribing, Unsubscribe<Kind::kPattern>,
          "Stops listening to messages published to channels that match one or more patterns.",
          "O(N) where N is the number of patterns to unsubscribe.", kAnyPatterns),
      Row("spublish", "7.0.0", 3, kPublishing, SPublish, "Post a message to a shard channel",
          "O(N) where N is the number of clients subscribed to the receiving shard channel.", kSPublishArgs,
          kOneChannelKey),
      Row("ssubscribe", "7.0.0", -2, kSubscribing, SSubscribe, "Listens for messages published to shard channels.",
          "O(N) where N is the number of shard channels to subscribe to.", kShardChannels, kAllChannelKeys),
      Row("subscribe", "2.0.0", -2, kSubscribing, Subscribe<Kind::kChannel>,
          "Listens for messages published to channels.", "O(N) where N is the number of channels to subscribe to.",
          kChannels),
      Row("sunsubscribe", "7.0.0", -1, kSubscribing, SUnsubscribe,
          "Stops listening to messages posted to shard channels.",
          "O(N) where N is the number of shard channels to unsubscribe.", kAnyShardChannels, kAllChannelKeys),
      Row("unsubscribe", "2.0.0", -1, kSubscribing, Unsubscribe<Kind::kChannel>,
          "Stops listening to messages posted to channels.", "O(N) where N is the number of channels to unsubscribe.",
          kAnyChannels),
  };
  return kRows;
}

}  // namespace skein::node
