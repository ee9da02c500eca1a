#include "storage/manifest.h"

#include <string>

#include "gtest/gtest.h"

namespace skein::storage {
namespace {

Manifest SomeManifest() {
  Manifest manifest;
  manifest.sequence = 42;
  manifest.chosen = Manifest::Chosen::kConfigured;
  manifest.databases = 16;
  manifest.shards.resize(3);
  manifest.shards[0].incrs = {{1, 0}};
  manifest.shards[1].base = Manifest::FileRef{4, 1000};
  manifest.shards[1].incrs = {{5, 1000}, {6, 2500}};
  manifest.shards[1].durable = 3000;
  manifest.shards[1].history = {NewReign(0, 0), NewReign(7, 1200)};
  manifest.shards[2].incrs = {{1, 0}};
  return manifest;
}

// The text with a right checksum put under it.
std::string Summed(const std::string& lines) {
  char line[32];
  std::snprintf(line, sizeof(line), "checksum %08x\n", Crc32c(lines));
  return lines + line;
}

std::string LinesOf(const Manifest& manifest) {
  const std::string text = EncodeManifest(manifest);
  return text.substr(0, text.find("checksum"));
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Manifest, RoundTrip) {
  const Manifest manifest = SomeManifest();
  const std::string text = EncodeManifest(manifest);
  const auto parsed = ParseManifest(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status() << "\n" << text;
  EXPECT_EQ(*parsed, manifest);
}

TEST(Manifest, TextIsThatOfTheFormatPage) {
  Manifest manifest;
  manifest.sequence = 2;
  manifest.shards.resize(1);
  manifest.shards[0].incrs = {{1, 0}};
  manifest.shards[0].durable = 103;
  Reign reign;
  reign.id.fill(0xab);
  manifest.shards[0].history = {reign};
  EXPECT_EQ(EncodeManifest(manifest), Summed("skein-manifest 1\nsequence 2\nshards 1 defaulted\ndatabases 16\n"
                                             "shard 0\nincr 1 0\ndurable 103\n"
                                             "reign abababababababababababababababab 0 0\n"));
}

TEST(Manifest, L13_EveryFlippedBitAndEveryCutIsRefused) {
  std::string text = EncodeManifest(SomeManifest());
  for (size_t cut = 0; cut < text.size(); ++cut) {
    EXPECT_EQ(ParseManifest(text.substr(0, cut)).status().code(), absl::StatusCode::kDataLoss) << cut;
  }
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    text[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    EXPECT_EQ(ParseManifest(text).status().code(), absl::StatusCode::kDataLoss) << bit;
    text[bit / 8] ^= static_cast<char>(1 << (bit % 8));
  }
  EXPECT_FALSE(ParseManifest(text + "\n").ok());
}

TEST(Manifest, L13_ShardIdsMustBeZeroToNMinusOne) {
  const std::string lines = LinesOf(SomeManifest());
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"shard 1\n", "shard 2\n"},
                                 {"shard 0\n", "shard 1\n"},
                                 {"shards 3 ", "shards 2 "},
                                 {"shards 3 ", "shards 4 "}}) {
    const auto parsed = ParseManifest(Summed(Replaced(lines, from, to)));
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kDataLoss) << to;
  }
  EXPECT_NE(ParseManifest(Summed(Replaced(lines, "shard 1\n", "shard 2\n"))).status().message().find("0..N-1"),
            std::string_view::npos);
}

TEST(Manifest, MalformedLinesWithARightChecksumAreRefused) {
  const std::string lines = LinesOf(SomeManifest());
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"sequence 42", "sequence 042"},
                                 {"sequence 42", "sequence  42"},
                                 {"sequence 42", "sequence"},
                                 {"sequence 42", "sequence -1"},
                                 {"sequence 42", "sequence 99999999999999999999"},
                                 {"configured", "guessed"},
                                 {"shards 3", "shards 0"},
                                 {"shards 3", "shards 1025"},
                                 {"databases 16", "databases 0"},
                                 {"databases 16", "databases 65536"},
                                 {"incr 6 2500", "incr 5 2500"},
                                 {"incr 6 2500", "incr 6 999"},
                                 {"incr 1 0\n", ""},
                                 {"durable 3000\n", ""},
                                 {" 7 1200", " 7 1200 1"},
                                 {"shard 2", "shard 2\nextra 1"}}) {
    EXPECT_EQ(ParseManifest(Summed(Replaced(lines, from, to))).status().code(), absl::StatusCode::kDataLoss) << to;
  }
  EXPECT_FALSE(ParseManifest(Summed(lines + "more 1\n")).ok());
}

TEST(Manifest, ANewerVersionIsNamed) {
  const auto parsed = ParseManifest(Summed("skein-manifest 2\nanything else\n"));
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kUnimplemented);
}

TEST(Manifest, Names) {
  EXPECT_EQ(IncrName(3, 12), "shard-3/incr.12.aof");
  EXPECT_EQ(BaseName(0, 1), "shard-0/base.1.rdb");
}

}  // namespace
}  // namespace skein::storage
