#include <openssl/ssl.h>
#include <signal.h>

#include <algorithm>

#include "bus/tls/stream_testing.h"

namespace skein::bus {
namespace {

using Role = TlsStream::Role;

// Takes what `server` has sent and hands it on in pieces of `step` bytes, so that records arrive cut anywhere.
class Trickle {
 public:
  explicit Trickle(size_t step) : step_(step) {}
  int client_fd() const { return client_.fd[1]; }
  int server_fd() const { return server_.fd[1]; }
  // One piece in each direction; whether anything moved.
  bool Move() {
    const bool there = Piece(client_.fd[0], server_.fd[0]);
    return Piece(server_.fd[0], client_.fd[0]) || there;
  }

 private:
  bool Piece(int from, int to) {
    char bytes[4096];
    const ssize_t n = recv(from, bytes, std::min(step_, sizeof(bytes)), 0);
    if (n <= 0) return false;
    EXPECT_EQ(send(to, bytes, static_cast<size_t>(n), MSG_NOSIGNAL), n);
    return true;
  }
  const size_t step_;
  SocketPair client_, server_;
};

class VersionTest : public ::testing::TestWithParam<const char*> {
 protected:
  VersionTest() { site_.options.protocols = GetParam(); }
  TestSite site_;
};
INSTANTIATE_TEST_SUITE_P(Versions, VersionTest, ::testing::Values("TLSv1.2", "TLSv1.3"), [](const auto& info) {
  return std::string(std::string_view(info.param).ends_with("2") ? "Tls12" : "Tls13");
});

TEST_P(VersionTest, ShakesHandsAndTalksBothWays) {
  TlsPair pair(site_.Context(), site_.Context());
  pair.Shake();
  ASSERT_EQ(pair.near_result, 0) << pair.near->error();
  ASSERT_EQ(pair.far_result, 0) << pair.far->error();
  EXPECT_EQ(Put(pair.far.get(), "question"), 8);
  EXPECT_EQ(Get(pair.near.get()), "question");
  EXPECT_EQ(Put(pair.near.get(), "answer"), 6);
  EXPECT_EQ(Get(pair.far.get()), "answer");
  char byte;
  EXPECT_EQ(pair.near->Read(&byte, 1), -EAGAIN);
  EXPECT_FALSE(pair.near->wants_write());
}

TEST_P(VersionTest, SaysTheEndOnlyWhenThePeerSaidIt) {
  TlsPair pair(site_.Context(), site_.Context());
  pair.Shake();
  Put(pair.far.get(), "last words");
  pair.far->Shutdown();
  pair.sockets.Close(1);
  EXPECT_EQ(Get(pair.near.get()), "last words");
  EXPECT_NE(pair.near->pending(), 0u) << "the end has been read with them: nothing else would tell";
  char byte;
  EXPECT_EQ(pair.near->Read(&byte, 1), 0);
  EXPECT_EQ(pair.near->Read(&byte, 1), 0);

  TlsPair cut(site_.Context(), site_.Context());
  cut.Shake();
  Get(cut.far.get());  // tickets: unread bytes would reset the connection
  Put(cut.far.get(), "half a");
  cut.sockets.Close(1);
  EXPECT_EQ(Get(cut.near.get()), "half a");
  EXPECT_EQ(cut.near->Read(&byte, 1), -EIO);
  EXPECT_EQ(cut.near->error(), "the connection was cut");
}

TEST_P(VersionTest, BytesMayArriveOneByOne) {
  Trickle trickle(1);
  const auto near = TlsStream::Create(site_.Context(), trickle.server_fd(), Role::kAcceptClient);
  const auto far = TlsStream::Create(site_.Context(), trickle.client_fd(), Role::kDial);
  int a = -EAGAIN, b = -EAGAIN;
  for (int i = 0; i < 20000 && (a != 0 || b != 0); ++i) {
    if (a != 0) a = far->Handshake();
    if (b != 0) b = near->Handshake();
    ASSERT_TRUE(a == 0 || a == -EAGAIN) << far->error();
    ASSERT_TRUE(b == 0 || b == -EAGAIN) << near->error();
    trickle.Move();
  }
  ASSERT_EQ(a, 0);
  ASSERT_EQ(b, 0);
  for (const char* text : {"one", "two", "three"}) Put(far.get(), text);
  std::string got;
  for (int i = 0; i < 20000 && got.size() < 11; ++i) {
    got += Get(near.get(), 4);
    trickle.Move();
  }
  EXPECT_EQ(got, "onetwothree");
}

TEST_P(VersionTest, CarriesMuchBothWaysAtOnce) {
  TlsPair pair(site_.Context(), site_.Context());
  pair.Shake();
  constexpr size_t kSize = 8 << 20;
  std::string there(kSize, '\0'), back(kSize, '\0');
  for (size_t i = 0; i < kSize; ++i) {
    there[i] = static_cast<char>(i * 131 >> 3);
    back[i] = static_cast<char>(i * 71 >> 5);
  }
  std::string got_there, got_back;
  size_t sent_there = 0, sent_back = 0;
  const auto send = [](TlsStream* s, const std::string& from, size_t* sent) {
    if (*sent == from.size()) return;
    // The same bytes lie elsewhere each time: a buffer that grows and is compacted does that.
    const std::string copy = from.substr(*sent, 300'000);
    const ssize_t n = s->Write(copy.data(), copy.size());
    ASSERT_TRUE(n > 0 || n == -EAGAIN) << s->error();
    if (n == -EAGAIN) {
      EXPECT_TRUE(s->wants_write());
    }
    if (n > 0) *sent += static_cast<size_t>(n);
  };
  for (int i = 0; i < 100000 && (got_there.size() < kSize || got_back.size() < kSize); ++i) {
    send(pair.far.get(), there, &sent_there);
    send(pair.near.get(), back, &sent_back);
    got_there += Get(pair.near.get(), 50'000);
    got_back += Get(pair.far.get(), 70'000);
  }
  EXPECT_TRUE(got_there == there);
  EXPECT_TRUE(got_back == back);
}

TEST_P(VersionTest, PendingTellsOfWhatTheDescriptorNoLongerDoes) {
  TlsPair pair(site_.Context(), site_.Context());
  pair.Shake();
  Get(pair.near.get());
  EXPECT_EQ(pair.near->pending(), 0u);
  Put(pair.far.get(), "12345678");
  Put(pair.far.get(), "abcdefgh");
  EXPECT_EQ(pair.near->pending(), 0u) << "nothing has been taken from the descriptor yet";
  EXPECT_EQ(Get(pair.near.get(), 3), "123");
  EXPECT_EQ(pair.near->pending(), 5u);
  EXPECT_EQ(Get(pair.near.get(), 5), "45678");
  EXPECT_GT(pair.near->pending(), 0u) << "the second record has been read ahead";
  char byte;
  EXPECT_EQ(recv(pair.sockets.fd[0], &byte, 1, MSG_PEEK), -1);
  EXPECT_EQ(Get(pair.near.get()), "abcdefgh");
  EXPECT_EQ(pair.near->pending(), 0u);
}

TEST_P(VersionTest, ReadFillsTheBufferFromSeveralRecords) {
  TlsPair pair(site_.Context(), site_.Context());
  pair.Shake();
  for (int i = 0; i < 100; ++i) Put(pair.far.get(), "0123456789");
  EXPECT_EQ(Get(pair.near.get()).size(), 1000u);
  EXPECT_EQ(pair.near->pending(), 0u);
}

TEST_P(VersionTest, AWriteToAClosedPeerIsAnErrorNotASignal) {
  signal(SIGPIPE, SIG_DFL);
  TlsPair pair(site_.Context(), site_.Context());
  pair.Shake();
  pair.sockets.Close(1);
  ssize_t n = 1;
  for (int i = 0; i < 3 && n > 0; ++i) n = Put(pair.near.get(), "anybody there?");
  EXPECT_EQ(n, -EPIPE);
  EXPECT_EQ(Put(pair.near.get(), "again"), -EPIPE) << "a failure stays one";
}

TEST_P(VersionTest, APeerThatStopsInTheMiddleIsWaitedForAndThenCut) {
  TlsPair pair(site_.Context(), site_.Context());
  EXPECT_EQ(pair.near->Handshake(), -EAGAIN);
  EXPECT_EQ(pair.far->Handshake(), -EAGAIN);
  EXPECT_EQ(pair.near->Handshake(), -EAGAIN);
  EXPECT_EQ(pair.near->Handshake(), -EAGAIN) << "it never waits";
  EXPECT_FALSE(pair.near->wants_write());
  pair.sockets.Close(1);
  const int result = pair.near->Handshake();
  EXPECT_TRUE(result == -EIO || result == -ECONNRESET || result == -EPIPE) << result;
  EXPECT_FALSE(pair.near->error().empty());
}

TEST_P(VersionTest, AHalfRecordIsKeptWithTheConnection) {
  Trickle trickle(4096);
  const auto near = TlsStream::Create(site_.Context(), trickle.server_fd(), Role::kAcceptClient);
  const auto far = TlsStream::Create(site_.Context(), trickle.client_fd(), Role::kDial);
  int a = -EAGAIN, b = -EAGAIN;
  for (int i = 0; i < 100 && (a != 0 || b != 0); ++i) {
    a = far->Handshake();
    b = near->Handshake();
    trickle.Move();
  }
  ASSERT_EQ(a, 0);
  ASSERT_EQ(b, 0);
  while (trickle.Move()) {
  }
  Get(far.get());
  const std::string text(6000, 'x');
  Put(far.get(), "head");
  Put(far.get(), text);
  trickle.Move();  // 4096 bytes: a whole record and a part of the next
  EXPECT_EQ(Get(near.get(), 4), "head");
  EXPECT_EQ(near->pending(), 0u) << "a part of a record is nothing to come back for";
  // Another connection of this thread uses the same read-ahead buffer meanwhile.
  TlsPair other(site_.Context(), site_.Context());
  other.Shake();
  Put(other.far.get(), std::string(9000, 'y'));
  EXPECT_EQ(Get(other.near.get()), std::string(9000, 'y'));
  while (trickle.Move()) {
  }
  EXPECT_EQ(Get(near.get()), text);
}

TEST_P(VersionTest, GarbageIsRefusedInWords) {
  SocketPair sockets;
  const auto near = TlsStream::Create(site_.Context(), sockets.fd[0], Role::kAcceptClient);
  ASSERT_EQ(send(sockets.fd[1], "PING\r\nPING\r\n", 12, 0), 12);
  EXPECT_EQ(near->Handshake(), -EPROTO);
  EXPECT_EQ(near->error(), "wrong version number");
  EXPECT_EQ(near->Handshake(), -EPROTO);
}

TEST(StreamTest, AKeyUpdateIsAnsweredAndLosesNothing) {
  TestSite site;
  SocketPair sockets;
  const auto near = TlsStream::Create(site.Context(), sockets.fd[0], Role::kAcceptClient);
  RawClient client(site);
  client.Dial(sockets.fd[1]);
  ASSERT_TRUE(client.Shake(near.get()));
  char bytes[16];
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_EQ(SSL_write(client.ssl, "ask", 3), 3);
    ASSERT_EQ(Get(near.get()), "ask") << near->error();
    ASSERT_EQ(Put(near.get(), "tell"), 4);
    ASSERT_EQ(SSL_read(client.ssl, bytes, sizeof(bytes)), 4);
  }
}

TEST(StreamTest, RecordsWithoutDataDoNotKeepTheThread) {
  TestSite site;
  SocketPair sockets;
  const int size = 4 << 20;
  setsockopt(sockets.fd[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  const auto near = TlsStream::Create(site.Context(), sockets.fd[0], Role::kAcceptClient);
  RawClient client(site);
  client.Dial(sockets.fd[1]);
  ASSERT_TRUE(client.Shake(near.get()));
  // Key updates that ask for no answer: 27 bytes each on the wire.
  int sent = 0;
  while (sent < 4000 && SSL_key_update(client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
         SSL_do_handshake(client.ssl) == 1) {
    ++sent;
  }
  ASSERT_GT(sent, 3000);
  char byte;
  EXPECT_EQ(near->Read(&byte, 1), -EAGAIN);
  EXPECT_GT(recv(sockets.fd[0], &byte, 1, MSG_PEEK), 0) << "it has read all of them in one call";
}

TEST(StreamTest, RenegotiationIsRefused) {
  TestSite site;
  SocketPair sockets;
  const auto near = TlsStream::Create(site.Context(), sockets.fd[0], Role::kAcceptClient);
  RawClient client(site, TLS1_2_VERSION);
  client.Dial(sockets.fd[1]);
  ASSERT_TRUE(client.Shake(near.get()));
  ASSERT_EQ(SSL_renegotiate(client.ssl), 1);
  SSL_do_handshake(client.ssl);
  char byte;
  EXPECT_EQ(near->Read(&byte, 1), -EAGAIN);
  EXPECT_EQ(SSL_do_handshake(client.ssl), -1) << "it got a no_renegotiation";
  EXPECT_EQ(SSL_get_error(client.ssl, -1), SSL_ERROR_SSL);
}

class ResumptionTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Versions, ResumptionTest, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

// Connects `times` times with the session of the time before; how often it was resumed.
int Resumed(RawClient* client, const TlsContextPtr& context, Role role, int times) {
  int resumed = 0;
  for (int i = 0; i < times; ++i) {
    SocketPair sockets;
    const auto near = TlsStream::Create(context, sockets.fd[0], role);
    client->Dial(sockets.fd[1]);
    EXPECT_TRUE(client->Shake(near.get())) << near->error();
    Put(near.get(), "hello");
    char bytes[8];
    EXPECT_EQ(SSL_read(client->ssl, bytes, sizeof(bytes)), 5);  // takes the tickets, too
    resumed += SSL_session_reused(client->ssl);
    EXPECT_TRUE(near->peer().present()) << "resumed or not";
    EXPECT_EQ(near->peer().common_name, "node");
    near->Shutdown();
    SSL_shutdown(client->ssl);
  }
  return resumed;
}

TEST_P(ResumptionTest, SessionsAreResumedUnlessSwitchedOff) {
  TestSite site;
  RawClient client(site, GetParam());
  const TlsContextPtr context = site.Context();
  EXPECT_EQ(Resumed(&client, context, Role::kAcceptClient, 3), 2);
  EXPECT_EQ(Resumed(&client, site.Context(), Role::kAcceptClient, 1), 0) << "new certificates, new sessions";
  TlsOptions off = site.options;
  off.session_caching = false;
  RawClient another(site, GetParam());
  EXPECT_EQ(Resumed(&another, site.Context(off), Role::kAcceptClient, 3), 0);
}

TEST_P(ResumptionTest, AClientsSessionDoesNotOpenTheBus) {
  TestSite site;
  RawClient client(site, GetParam());
  const TlsContextPtr context = site.Context();
  EXPECT_EQ(Resumed(&client, context, Role::kAcceptClient, 2), 1);
  ASSERT_NE(client.session, nullptr);
  EXPECT_EQ(Resumed(&client, context, Role::kAcceptPeer, 1), 0);
}

}  // namespace
}  // namespace skein::bus
