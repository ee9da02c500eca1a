#include "node/pubsub/registry.h"

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace skein::node {
namespace {

using Kind = SubscriptionKind;

struct Rig {
  Interest interest;
  Registry registry{&interest};
  // Names of those who get it, with the pattern if it is by one.
  std::multiset<std::string> Receivers(std::string_view channel, bool sharded = false) {
    std::multiset<std::string> receivers;
    registry.ForEachReceiver(sharded, channel, [&](Subscriber& s, const Channel* pattern) {
      receivers.insert(*static_cast<std::string*>(s.owner) + (pattern != nullptr ? ":" + pattern->name : ""));
    });
    return receivers;
  }
};
using Names = std::multiset<std::string>;

TEST(Registry, ChannelsPatternsAndShardChannelsAreApart) {
  Rig rig;
  std::string a = "a", b = "b";
  Subscriber one(&a), two(&b);
  EXPECT_TRUE(rig.registry.Subscribe(&one, Kind::kChannel, "news"));
  EXPECT_FALSE(rig.registry.Subscribe(&one, Kind::kChannel, "news"));
  EXPECT_TRUE(rig.registry.Subscribe(&one, Kind::kPattern, "n*"));
  EXPECT_TRUE(rig.registry.Subscribe(&two, Kind::kPattern, "*"));
  EXPECT_TRUE(rig.registry.Subscribe(&two, Kind::kShardChannel, "news", 7));
  EXPECT_EQ(rig.Receivers("news"), (Names{"a", "a:n*", "b:*"}));
  EXPECT_EQ(rig.Receivers("other"), (Names{"b:*"}));
  EXPECT_EQ(rig.Receivers(""), (Names{"b:*"}));
  EXPECT_EQ(rig.Receivers("news", true), (Names{"b"}));
  EXPECT_EQ(rig.registry.CountReceivers(false, "news"), 3u);
  EXPECT_EQ(one.classic(), 2u);
  EXPECT_EQ(two.classic(), 1u);
  EXPECT_EQ(two.total(), 2u);
  EXPECT_TRUE(rig.registry.Unsubscribe(&one, Kind::kChannel, "news"));
  EXPECT_FALSE(rig.registry.Unsubscribe(&one, Kind::kChannel, "news"));
  EXPECT_FALSE(rig.registry.Unsubscribe(&one, Kind::kShardChannel, "news"));
  rig.registry.Drop(&one);
  rig.registry.Drop(&two);
  EXPECT_EQ(one.memory() + two.memory(), 0u);
  for (const Kind kind : {Kind::kChannel, Kind::kPattern, Kind::kShardChannel}) EXPECT_EQ(rig.registry.size(kind), 0u);
}

// What other loops are told is never "no" where somebody listens, and "no" again when nobody does (L39).
TEST(Registry, L39_InterestFollowsTheFirstAndTheLast) {
  Rig rig;
  Subscriber one(nullptr), two(nullptr);
  EXPECT_FALSE(rig.interest.Maybe(false, "x"));
  rig.registry.Subscribe(&one, Kind::kChannel, "x");
  rig.registry.Subscribe(&two, Kind::kChannel, "x");
  EXPECT_TRUE(rig.interest.Maybe(false, "x"));
  EXPECT_FALSE(rig.interest.Maybe(true, "x"));
  rig.registry.Drop(&one);
  EXPECT_TRUE(rig.interest.Maybe(false, "x"));
  rig.registry.Drop(&two);
  EXPECT_FALSE(rig.interest.Maybe(false, "x"));
  rig.registry.Subscribe(&one, Kind::kPattern, "y");
  EXPECT_TRUE(rig.interest.Maybe(false, "anything"));
  EXPECT_FALSE(rig.interest.Maybe(true, "anything"));
  rig.registry.Drop(&one);
  EXPECT_FALSE(rig.interest.Maybe(false, "anything"));
}

// Against a model that is too simple to be wrong; also that memory is counted back to nothing.
TEST(Registry, DoesAsAModelDoes) {
  Rig rig;
  constexpr size_t kClients = 20;
  std::vector<std::string> owners;
  for (size_t i = 0; i < kClients; ++i) owners.push_back("client" + std::to_string(i));
  std::vector<std::unique_ptr<Subscriber>> clients;
  for (std::string& owner : owners) clients.push_back(std::make_unique<Subscriber>(&owner));
  std::map<std::string, std::set<size_t>> model[kSubscriptionKinds];
  std::mt19937 random(1);
  for (int step = 0; step < 20'000; ++step) {
    const size_t client = random() % kClients, kind = random() % kSubscriptionKinds;
    const std::string name = "c" + std::to_string(random() % 8);
    switch (random() % 8) {
      case 0:
        rig.registry.Drop(clients[client].get());
        for (auto& names : model) {
          for (auto& [n, set] : names) set.erase(client);
        }
        break;
      case 1:
      case 2:
      case 3:
        EXPECT_EQ(rig.registry.Unsubscribe(clients[client].get(), static_cast<Kind>(kind), name),
                  model[kind][name].erase(client) == 1);
        break;
      default:
        EXPECT_EQ(rig.registry.Subscribe(clients[client].get(), static_cast<Kind>(kind), name),
                  model[kind][name].insert(client).second);
    }
    Names expected;
    for (size_t c : model[0][name]) expected.insert(owners[c]);
    for (size_t c : model[1][name]) expected.insert(owners[c] + ":" + name);
    ASSERT_EQ(rig.Receivers(name), expected);
    ASSERT_EQ(rig.registry.subscribers(Kind::kShardChannel, name), model[2][name].size());
  }
  for (auto& client : clients) {
    rig.registry.Drop(client.get());
    EXPECT_EQ(client->memory(), 0u);
  }
}

}  // namespace
}  // namespace skein::node
