#include "bus/seeds.h"

#include "gtest/gtest.h"

namespace skein::bus {
namespace {

std::string Text(const std::vector<std::string>& words) {
  auto seeds = ParseSeeds(words, 16379);
  if (!seeds.ok()) return std::string(seeds.status().message());
  std::string text;
  for (const Seed& s : *seeds) text += s.host + "|" + std::to_string(s.bus_port) + " ";
  return text;
}

TEST(Seeds, NamesAddressesAndPorts) {
  EXPECT_EQ(Text({}), "");
  EXPECT_EQ(Text({""}), "");
  EXPECT_EQ(Text({"skein.svc", "10.0.0.1:7000"}), "skein.svc|16379 10.0.0.1|7000 ");
  EXPECT_EQ(Text({"a,b:1, c", "a"}), "a|16379 b|1 c|16379 ");
  EXPECT_EQ(Text({"::1", "[fe80::1]", "[fe80::2]:17000"}), "::1|16379 fe80::1|16379 fe80::2|17000 ");
}

TEST(Seeds, WhatIsWrongIsNamed) {
  EXPECT_EQ(Text({"a:0"}), "'a:0' has no valid bus port after its colon");
  EXPECT_EQ(Text({"a:65536"}), "'a:65536' has no valid bus port after its colon");
  EXPECT_EQ(Text({"a:"}), "'a:' has no valid bus port after its colon");
  EXPECT_EQ(Text({":1"}), "':1' is not host[:bus-port]");
  EXPECT_EQ(Text({"a/b"}), "'a/b' is not host[:bus-port]");
  EXPECT_EQ(Text({"[::1"}), "'[::1' lacks a ']'");
  EXPECT_EQ(Text({"[::1]7000"}), "'[::1]7000' is not host[:bus-port]");
  std::vector<std::string> many;
  for (int i = 0; i < 65; ++i) many.push_back("h" + std::to_string(i));
  EXPECT_EQ(Text(many), "more than 64 seeds");
}

}  // namespace
}  // namespace skein::bus
