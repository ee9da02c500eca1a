#include "node/replication/logsync.h"

#include <gtest/gtest.h>

namespace skein::node {
namespace {

LogsyncRequest Sample() {
  LogsyncRequest r;
  r.replica_id = std::string(40, 'a');
  r.ip = "10.0.0.7";
  r.port = 6380;
  r.shard = 2;
  r.shards = 4;
  r.databases = 16;
  r.end = 1234;
  r.history = {storage::NewReign(1, 0), storage::NewReign(7, 800)};
  return r;
}

absl::StatusOr<LogsyncRequest> Decode(const std::vector<std::string>& words) {
  const std::vector<std::string_view> views(words.begin(), words.end());
  return DecodeLogsync(views);
}

TEST(Logsync, ComesBackAsItWasSaid) {
  for (const bool plain : {false, true}) {
    LogsyncRequest r = Sample();
    if (plain) {
      r.ip.clear();
      r.history.clear();
      r.kind = LogsyncRequest::Kind::kPart;
    }
    const auto back = Decode(EncodeLogsync(r));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->replica_id, r.replica_id);
    EXPECT_EQ(back->ip, r.ip);
    EXPECT_EQ(back->port, r.port);
    EXPECT_EQ(back->shard, r.shard);
    EXPECT_EQ(back->shards, r.shards);
    EXPECT_EQ(back->databases, r.databases);
    EXPECT_EQ(back->kind, r.kind);
    EXPECT_EQ(back->end, r.end);
    EXPECT_EQ(back->history, r.history);
  }
  LogsyncRequest r = Sample();
  r.kind = LogsyncRequest::Kind::kAsk;
  EXPECT_EQ(Decode(EncodeLogsync(r))->kind, LogsyncRequest::Kind::kAsk);
}

TEST(Logsync, L42_RefusesWhatIsNone) {
  const std::vector<std::string> good = EncodeLogsync(Sample());
  const std::vector<std::pair<size_t, std::string>> bad = {{1, "0"},
                                                           {1, "x"},
                                                           {2, "short"},
                                                           {2, std::string(40, 'G')},
                                                           {3, "a b"},
                                                           {3, "a=b"},
                                                           {3, std::string(300, 'x')},
                                                           {4, "65536"},
                                                           {4, "-1"},
                                                           {5, "4/4"},
                                                           {5, "2"},
                                                           {5, "/"},
                                                           {6, "no"},
                                                           {7, ""},
                                                           {8, ""},
                                                           {9, "a:b:c"},
                                                           {9, "0"},
                                                           {9, ":"}};
  for (const auto& [at, word] : bad) {
    std::vector<std::string> words = good;
    words[at] = word;
    const auto result = Decode(words);
    EXPECT_FALSE(result.ok()) << at << " " << word;
    EXPECT_TRUE(std::string(result.status().message()).starts_with("ERR LOGSYNC: "));
  }
  std::vector<std::string> words = good;
  words.push_back("more");
  EXPECT_FALSE(Decode(words).ok());
  // A newer replica may say more, and is answered in the version that both speak.
  words[1] = "2";
  EXPECT_TRUE(Decode(words).ok());
  words.resize(9);
  EXPECT_FALSE(Decode(words).ok());
}

TEST(Logsync, HistoriesAreLimited) {
  LogsyncRequest r = Sample();
  r.history.assign(storage::kMaxReigns, storage::NewReign(1, 0));
  EXPECT_TRUE(Decode(EncodeLogsync(r)).ok());
  r.history.push_back(r.history.back());
  EXPECT_FALSE(Decode(EncodeLogsync(r)).ok());
}

TEST(Logsync, AnswersComeBack) {
  LogsyncAnswer a;
  a.primary_id = std::string(40, 'b');
  for (const auto kind : {LogsyncAnswer::Kind::kContinue, LogsyncAnswer::Kind::kFull, LogsyncAnswer::Kind::kParted,
                          LogsyncAnswer::Kind::kShape}) {
    a.kind = kind;
    a.common = kind == LogsyncAnswer::Kind::kParted ? 77 : 0;
    a.shards = kind == LogsyncAnswer::Kind::kShape ? 1024 : 0;
    a.databases = kind == LogsyncAnswer::Kind::kShape ? 16 : 0;
    const auto back = DecodeAnswer(EncodeAnswer(a));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->kind, a.kind);
    EXPECT_EQ(back->common, a.common);
    EXPECT_EQ(back->shards, a.shards);
    EXPECT_EQ(back->databases, a.databases);
    EXPECT_EQ(back->primary_id, a.primary_id);
  }
  a.kind = LogsyncAnswer::Kind::kKnows;
  a.common = 0;
  for (const auto& history : {std::vector<storage::Reign>{}, Sample().history}) {
    a.end = history.empty() ? 0 : 1234;
    a.history = history;
    a.follows = history.empty() ? "" : std::string(40, 'c');
    const auto back = DecodeAnswer(EncodeAnswer(a));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->kind, a.kind);
    EXPECT_EQ(back->end, a.end);
    EXPECT_EQ(back->history, a.history);
    EXPECT_EQ(back->follows, a.follows);
    EXPECT_EQ(back->primary_id, a.primary_id);
  }
  for (const char* rest :
       {"", " ", " 5", " 5 ", " 5 -", " 5 - ", " 5  -", " x - -", " 5 0:0 -", " 5 - x", " 5 - - -"}) {
    EXPECT_FALSE(DecodeAnswer("KNOWS 1 " + a.primary_id + rest).ok()) << rest;
  }
  for (const char* line : {"", "OK", "FULL", "CONTINUE 1", "FULL 2 -", "FULL 1 x -", "PARTED 1 x 5"}) {
    EXPECT_FALSE(DecodeAnswer(line).ok()) << line;
  }
  for (const char* rest : {"", " 4", " 0 16", " 4 0", " 1025 16", " 4 65536", " 4 16 ", " x 16", " 4 x"}) {
    EXPECT_FALSE(DecodeAnswer("SHAPE 1 " + a.primary_id + rest).ok()) << rest;
  }
  EXPECT_FALSE(DecodeAnswer("PARTED 1 " + a.primary_id).ok());
  EXPECT_FALSE(DecodeAnswer("PARTED 1 " + a.primary_id + " x").ok());
  EXPECT_FALSE(DecodeAnswer("CONTINUE 2 " + a.primary_id).ok()) << "a version that was not offered";
  EXPECT_FALSE(DecodeAnswer("CONTINUE 1 " + a.primary_id + " 5").ok());
}

}  // namespace
}  // namespace skein::node
