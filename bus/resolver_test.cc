#include "bus/resolver.h"

#include <algorithm>
#include <condition_variable>
#include <future>
#include <mutex>

#include "gtest/gtest.h"

namespace skein::bus {
namespace {

using Ips = std::vector<std::string>;

TEST(Resolver, NumericAndLocalNamesNeedNoServer) {
  EXPECT_EQ(SystemResolve("127.0.0.9"), Ips{"127.0.0.9"});
  EXPECT_EQ(SystemResolve("::1"), Ips{"::1"});
  Ips local = SystemResolve("localhost");
  EXPECT_TRUE(std::count(local.begin(), local.end(), "127.0.0.1") + std::count(local.begin(), local.end(), "::1") > 0);
  EXPECT_TRUE(SystemResolve("no such name").empty());
}

TEST(Resolver, AnswersInOrderAndBoundsWhatItAnswers) {
  std::promise<void> all;
  std::vector<std::pair<uint64_t, size_t>> answers;
  Resolver resolver([](const std::string& host) { return Ips(std::stoul(host), "10.0.0.1"); },
                    [&](uint64_t id, Ips ips) {
                      answers.emplace_back(id, ips.size());
                      if (answers.size() == 3) all.set_value();
                    });
  EXPECT_TRUE(resolver.Resolve(7, "2"));
  EXPECT_TRUE(resolver.Resolve(8, "0"));
  EXPECT_TRUE(resolver.Resolve(9, "100000"));
  all.get_future().wait();
  resolver.Stop();
  EXPECT_EQ(answers, (std::vector<std::pair<uint64_t, size_t>>{{7, 2}, {8, 0}, {9, Resolver::kMaxAddresses}}));
}

TEST(Resolver, ItsQueueIsBoundedAndStoppingDoesNotWaitForTheSystem) {
  auto entered = std::make_shared<std::promise<void>>();
  auto gate = std::make_shared<std::promise<void>>();
  auto open = std::make_shared<std::shared_future<void>>(gate->get_future().share());
  auto returned = std::make_shared<std::promise<void>>();
  std::future<void> in = entered->get_future(), out = returned->get_future();
  int answers = 0;
  {
    Resolver resolver(
        [=](const std::string&) {
          entered->set_value();
          open->wait();
          returned->set_value();
          return Ips{"10.0.0.1"};
        },
        [&](uint64_t, Ips) { ++answers; });
    ASSERT_TRUE(resolver.Resolve(0, "hangs"));
    in.wait();
    size_t accepted = 0;
    for (size_t i = 0; i < 1000; ++i) accepted += resolver.Resolve(i, "waits");
    EXPECT_EQ(accepted, Resolver::kMaxQueued);
    resolver.Stop();  // while the name is being resolved
    EXPECT_FALSE(resolver.Resolve(1, "late"));
  }
  gate->set_value();
  out.wait();
  EXPECT_EQ(answers, 0);
}

}  // namespace
}  // namespace skein::bus
