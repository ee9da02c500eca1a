// What commands write to the log and tell the mutation hook.
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "node/commands/harness.h"
#include "storage/rdb/crc64.h"

namespace skein::node {
namespace {

// What DUMP gives of the string "5".
#define PAYLOAD_OF_5 "\"\\x00\\xc0\\x05\\x0a\\x00\\x63\\x2f\\x5f\\x66\\x83\\x2f\\xb3\\x51\""

std::string Payload(std::string_view value, uint16_t version, char type = 0) {
  std::string payload = type + std::string(value);
  payload.append(reinterpret_cast<const char*>(&version), sizeof(version));
  const uint64_t crc = storage::RdbCrc64(0, payload);
  return payload.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
}

struct Case {
  std::vector<const char*> before;
  const char* command;
  const char* events;
};

TEST(Events, AreThoseThatRedisPublishes) {
  const Case cases[] = {
      {{}, "SET a 1", "set a"},
      {{}, "SET a 1 EX 10", "set a, expire a"},
      {{"SET a 1 EX 10"}, "SET a 2 KEEPTTL", "set a"},
      {{"SET a 1"}, "SET a 2 NX", ""},
      {{}, "SETEX a 10 1", "set a, expire a"},
      {{}, "MSET a 1 b 2", "set a, set b"},
      {{"SET b 1"}, "MSETNX a 1 b 2", ""},
      {{}, "GETSET a 1", "set a"},
      {{"SET a 1"}, "GETDEL a", "del a"},
      {{"SET a 1"}, "GETEX a EX 5", "expire a"},
      {{"SET a 1 EX 5"}, "GETEX a PERSIST", "persist a"},
      {{"SET a 1"}, "GETEX a PXAT 1", "del a"},
      {{"SET a 1"}, "GETEX a", ""},
      {{}, "APPEND a x", "append a"},
      {{}, "SETRANGE a 3 x", "setrange a"},
      {{"SET a 1"}, "SETRANGE a 3 \"\"", ""},
      {{}, "INCR a", "incrby a"},
      {{}, "DECRBY a 3", "incrby a"},
      {{}, "INCRBYFLOAT a 3", "incrbyfloat a"},
      {{"SET a 1"}, "DEL a b", "del a"},
      {{"SET a 1"}, "UNLINK a a", "del a"},
      {{"SET a 1"}, "EXPIRE a 10", "expire a"},
      {{"SET a 1"}, "EXPIRE a -1", "del a"},
      {{"SET a 1 EX 9"}, "PERSIST a", "persist a"},
      {{"SET a 1", "SET b 1"}, "RENAME a b", "rename_from a, rename_to b"},
      {{"SET a 1"}, "RENAME a a", ""},
      {{"SET a 1"}, "COPY a b", "copy_to b"},
      {{"SET a 1"}, "MOVE a 1", "move_from a, move_to a @1"},
      {{}, "RESTORE a 0 " PAYLOAD_OF_5, "restore a"},
      {{"SET a 1"}, "RESTORE a 0 " PAYLOAD_OF_5 " REPLACE", "restore a"},
      {{"SET a 1"}, "RESTORE a 0 " PAYLOAD_OF_5, ""},
      {{}, "RESTORE a 1000 " PAYLOAD_OF_5, "restore a"},
      {{}, "RESTORE a 1 " PAYLOAD_OF_5 " ABSTTL", ""},
      {{"SET a 1"}, "RESTORE a 1 " PAYLOAD_OF_5 " ABSTTL REPLACE", "del a"},
      {{"SET a 1 PX 5"}, "!RESTORE a 0 " PAYLOAD_OF_5, "expired a, restore a"},
      {{"SET a 1 PX 5"}, "!DUMP a", "expired a"},
      {{"SET a 1 PX 5"}, "!GET a", "expired a"},
      {{"SET a 1 PX 5"}, "!DEL a", "expired a"},
      {{"SET a 1 PX 5"}, "!INCR a", "expired a, incrby a"},
      {{"SET a 1 PX 5"}, "!EXISTS a", "expired a"},
  };
  for (const Case& c : cases) {
    Harness h;
    for (const char* line : c.before) h.Run(line);
    h.TakeEvents();
    const bool later = c.command[0] == '!';
    if (later) h.now_ms += 1000;
    h.Run(c.command + (later ? 1 : 0));
    EXPECT_EQ(h.TakeEvents(), c.events) << c.command;
  }
}

// What is logged is what was executed: times are absolute, a decision is a fact.
TEST(Log, L08_HoldsFactsOnly) {
  Harness h;
  const auto log = [&h](const char* line) {
    h.Run(line);
    std::string body = h.TakeLog(), words;
    // The words of the RESP arrays; what begins with '*' or '$' is their framing.
    size_t at = 0;
    while (at < body.size()) {
      const size_t end = std::min(body.find("\\r\\n", at), body.size());
      const std::string piece = body.substr(at, end - at);
      if (piece[0] == '*' && !words.empty()) words += ";";
      if (piece[0] != '*' && piece[0] != '$') words += (words.empty() || words.back() == ';' ? "" : " ") + piece;
      at = end + 4;
    }
    return words;
  };
  EXPECT_EQ(log("SET a 1 EX 10"), "SET a 1 PXAT 1700000010000");
  EXPECT_EQ(log("SET a 1 NX"), "");
  EXPECT_EQ(log("SETEX a 10 2"), "SET a 2 PXAT 1700000010000");
  EXPECT_EQ(log("EXPIRE a 20"), "PEXPIREAT a 1700000020000");
  EXPECT_EQ(log("EXPIRE a 10 GT"), "");
  EXPECT_EQ(log("GETEX a PX 5"), "PEXPIREAT a 1700000000005");
  EXPECT_EQ(log("INCR a"), "SET a 3 KEEPTTL");
  EXPECT_EQ(log("INCRBYFLOAT a 0.5"), "SET a 3.5 KEEPTTL");
  EXPECT_EQ(log("EXPIRE a -5"), "DEL a");
  EXPECT_EQ(log("GETDEL a"), "");
  EXPECT_EQ(log("MSET a 1 b 2"), "SET a 1;SET b 2");
  EXPECT_EQ(log("DEL a b c"), "DEL a;DEL b");
  EXPECT_EQ(log("RESTORE a 0 " PAYLOAD_OF_5 " REPLACE"), "SET a 5");
  EXPECT_EQ(log("RESTORE b 1000 " PAYLOAD_OF_5 " REPLACE IDLETIME 7"), "SET b 5 PXAT 1700000001000");
  EXPECT_EQ(log("RESTORE-ASKING b 1800000000000 " PAYLOAD_OF_5 " REPLACE ABSTTL"), "SET b 5 PXAT 1800000000000");
  EXPECT_EQ(log("RESTORE b 1 " PAYLOAD_OF_5 " REPLACE ABSTTL"), "DEL b");
  EXPECT_EQ(log("RESTORE b 1 " PAYLOAD_OF_5 " REPLACE ABSTTL"), "");
  EXPECT_EQ(log("RESTORE a 0 " PAYLOAD_OF_5), "");  // BUSYKEY
  EXPECT_EQ(log("DUMP a"), "");
  h.Run("SET a 1 PX 5");
  h.TakeLog();
  h.now_ms += 100;
  EXPECT_EQ(log("GET a"), "DEL a");  // an expiry is an effect like any other
}

// A command of several effects is one record.
TEST(Log, L20_OneRecordACommand) {
  Harness h;
  h.Run("MSET a 1 b 2 c 3");
  EXPECT_EQ(h.TakeLog().find(" | "), std::string::npos);
}

// Swap, move and copy across databases are effects of their own.
TEST(Log, L19_DatabaseCommandsAreLogged) {
  Harness h;
  h.Run("SET a 1");
  h.TakeLog();
  h.Run("SWAPDB 0 1");
  EXPECT_NE(h.TakeLog().find("SWAPDB"), std::string::npos);
  h.db = 1;
  h.Run("COPY a b DB 2");
  EXPECT_NE(h.TakeLog().find("COPY"), std::string::npos);
  h.Run("MOVE a 3");
  EXPECT_NE(h.TakeLog().find("MOVE"), std::string::npos);
}

TEST(Object, IdleTimeAndFrequencyFollowThePolicy) {
  Harness h;
  h.Run("SET a 1");
  h.now_ms += 12'500;
  EXPECT_EQ(h.Run("OBJECT IDLETIME a"), ":12\r\n");
  EXPECT_EQ(h.Run("EXISTS a"), ":1\r\n");  // is not an access
  EXPECT_EQ(h.Run("OBJECT IDLETIME a"), ":12\r\n");
  h.Run("TOUCH a");
  EXPECT_EQ(h.Run("OBJECT IDLETIME a"), ":0\r\n");
  h.config.maxmemory_policy = "allkeys-lfu";
  EXPECT_EQ(h.Run("OBJECT IDLETIME a"),
            "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between "
            "policies at runtime LRU and LFU data will take some time to adjust.\r\n");
}

TEST(Restore, SetsAccessDataAsThePolicyHasIt) {
  Harness h;
  EXPECT_EQ(h.Run("RESTORE a 0 " PAYLOAD_OF_5 " IDLETIME 100"), "+OK\r\n");
  EXPECT_EQ(h.Run("OBJECT IDLETIME a"), ":100\r\n");
  EXPECT_EQ(h.Run("RESTORE a 0 " PAYLOAD_OF_5 " FREQ 9 REPLACE"), "+OK\r\n");  // said of another policy: ignored
  EXPECT_EQ(h.Run("OBJECT IDLETIME a"), ":0\r\n");
  h.config.maxmemory_policy = "allkeys-lfu";
  EXPECT_EQ(h.Run("RESTORE a 0 " PAYLOAD_OF_5 " FREQ 9 REPLACE"), "+OK\r\n");
  EXPECT_EQ(h.Run("OBJECT FREQ a"), ":9\r\n");
}

// Redis wraps around and drops the key. Ours, versions of Redis 7.4 and Valkey 9 are taken, which 7.0 refuses.
TEST(Restore, DiffersFromRedisWhereThatLosesData) {
  Harness h;
  h.Run("SET a 1");
  EXPECT_EQ(h.Run("RESTORE a 9223372036854775807 " PAYLOAD_OF_5 " REPLACE"),
            "-ERR invalid expire time in 'restore' command\r\n");
  EXPECT_EQ(h.Run("GET a"), "$1\r\n1\r\n");
  for (const uint16_t version : {11, 12, 80}) {
    EXPECT_EQ(h.Run({"RESTORE", "a", "0", Payload("\xc0\x07", version), "REPLACE"}), "+OK\r\n") << version;
    EXPECT_EQ(h.Run("GET a"), "$1\r\n7\r\n");
  }
  EXPECT_EQ(h.Run({"RESTORE", "b", "0", Payload("\x01\x01v", 10, /*type=*/18)}),
            "-ERR the value is a list (quicklist), which this version cannot hold\r\n");
  EXPECT_EQ(h.Run("EXISTS b"), ":0\r\n");
}

TEST(Limits, ProtoMaxBulkLenBoundsStrings) {
  Harness h;
  h.config.proto_max_bulk_len = 16;
  EXPECT_EQ(h.Run("SETRANGE a 15 x"), ":16\r\n");
  const std::string error = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
  EXPECT_EQ(h.Run("SETRANGE a 16 x"), error);
  EXPECT_EQ(h.Run("APPEND a x"), error);
  EXPECT_EQ(h.Run("STRLEN a"), ":16\r\n");
}

}  // namespace
}  // namespace skein::node
