#include "node/reply.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace skein::node {
namespace {

std::string Write(int resp, const std::function<void(ReplyWriter&)>& fn) {
  Buffer out;
  ReplyWriter writer(&out, resp);
  fn(writer);
  return std::string(out.view());
}

// Both protocols, in turn.
void Expect(const std::string& two, const std::string& three, const std::function<void(ReplyWriter&)>& fn) {
  EXPECT_EQ(Write(2, fn), two);
  EXPECT_EQ(Write(3, fn), three);
}

TEST(Reply, TheSameInBoth) {
  const auto same = [](const std::string& text, const std::function<void(ReplyWriter&)>& fn) {
    Expect(text, text, fn);
  };
  same("+OK\r\n", [](ReplyWriter& r) { r.Ok(); });
  same("+PONG\r\n", [](ReplyWriter& r) { r.Status("PONG"); });
  same("-ERR a  b\r\n", [](ReplyWriter& r) { r.Error("ERR a\r\nb"); });
  same(":-9223372036854775808\r\n", [](ReplyWriter& r) { r.Integer(INT64_MIN); });
  same("$0\r\n\r\n", [](ReplyWriter& r) { r.Bulk(""); });
  same(std::string("$3\r\na\0b\r\n", 9), [](ReplyWriter& r) { r.Bulk(std::string_view("a\0b", 3)); });
  same("$12\r\nabcdefghijkl\r\n", [](ReplyWriter& r) { r.Bulk("abcdefghijkl"); });
  same("$2\r\n-7\r\n", [](ReplyWriter& r) { r.BulkInteger(-7); });
  same("*10\r\n", [](ReplyWriter& r) { r.Array(10); });
  same("*0\r\n", [](ReplyWriter& r) { r.Array(0); });
  same("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", [](ReplyWriter& r) { r.WrongType(); });
}

TEST(Reply, Resp3Types) {
  Expect("$-1\r\n", "_\r\n", [](ReplyWriter& r) { r.Null(); });
  Expect("*-1\r\n", "_\r\n", [](ReplyWriter& r) { r.NullArray(); });
  Expect("*4\r\n", "%2\r\n", [](ReplyWriter& r) { r.Map(2); });
  Expect("*2\r\n", "~2\r\n", [](ReplyWriter& r) { r.Set(2); });
  Expect("*2\r\n", ">2\r\n", [](ReplyWriter& r) { r.Push(2); });
  Expect(":1\r\n", "#t\r\n", [](ReplyWriter& r) { r.Bool(true); });
  Expect(":0\r\n", "#f\r\n", [](ReplyWriter& r) { r.Bool(false); });
  Expect("$3\r\nabc\r\n", "=7\r\ntxt:abc\r\n", [](ReplyWriter& r) { r.Verbatim("txt", "abc"); });
  Expect("$3\r\n0.1\r\n", ",0.1\r\n", [](ReplyWriter& r) { r.Double(0.1); });
  Expect("$4\r\n-inf\r\n", ",-inf\r\n", [](ReplyWriter& r) { r.Double(-std::numeric_limits<double>::infinity()); });
  Expect("$3\r\nnan\r\n", ",nan\r\n", [](ReplyWriter& r) { r.Double(std::nan("")); });
  Expect("$1\r\n3\r\n", ",3\r\n", [](ReplyWriter& r) { r.Double(3); });
}

TEST(Buffer, KeepsItsBytesWhereverItGrows) {
  Buffer buffer;
  std::string want;
  const std::string piece(300'001, 'p');
  for (int i = 0; i < 60; ++i) {  // from the allocator's memory into mappings, which grow on
    buffer.Append(piece);
    want += piece;
    buffer.Append(static_cast<char>('a' + i % 26));
    want += static_cast<char>('a' + i % 26);
  }
  EXPECT_TRUE(buffer.view() == want);
  Buffer moved = std::move(buffer);
  moved.Consume(5'000'000);
  EXPECT_TRUE(moved.view() == std::string_view(want).substr(5'000'000));
  moved.Release();
  EXPECT_EQ(moved.capacity(), 0u);
  moved.Append("again");
  EXPECT_EQ(moved.view(), "again");
}

TEST(Buffer, GrowsConsumesAndMoves) {
  Buffer a;
  std::string expected;
  for (int i = 0; i < 5000; ++i) {
    a.Append(std::to_string(i));
    expected += std::to_string(i);
  }
  EXPECT_EQ(a.view(), expected);
  a.Consume(1000);
  expected.erase(0, 1000);
  EXPECT_EQ(a.view(), expected);
  Buffer b = std::move(a);
  EXPECT_EQ(b.view(), expected);
  b.Release();
  EXPECT_EQ(b.capacity(), 0u);
  b.Append('x');
  EXPECT_EQ(b.view(), "x");
}

}  // namespace
}  // namespace skein::node
