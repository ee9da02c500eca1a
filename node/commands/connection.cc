// Connection commands: AUTH ECHO HELLO PING QUIT RESET SELECT, and the rows of CLIENT (client.cc).
// Source: the Redis 7.2 documentation of each command; error texts compared with redis-server 7.0.15.
#include "node/commands/connection.h"

#include <strings.h>

#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "node/commands/families.h"
#include "node/commands/parse.h"
#include "node/config/config.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/session.h"
#include "node/version.h"

namespace skein::node {
namespace {

// Takes as long for a wrong password as for a right one of the same length.
bool SameSecret(std::string_view a, std::string_view b) {
  unsigned char differ = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    differ |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  }
  return differ == 0;
}

// There is one user, "default", with the password of `requirepass`; without one, any password is right for it.
bool Authenticate(Call& call, std::string_view user, std::string_view password) {
  const std::string& secret = call.config->requirepass;
  const bool right = user == "default" && (secret.empty() || SameSecret(password, secret));
  if (!right) {
    call.reply->Error("WRONGPASS invalid username-password pair or user is disabled.");
    return false;
  }
  call.session->state().authenticated = true;
  call.session->state().user = "default";
  return true;
}

void Auth(Call& call) {
  if (call.argv.size() > 3) return call.reply->SyntaxError();
  if (call.argv.size() == 2) {
    if (call.config->requirepass.empty()) {
      return call.reply->Error(
          "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
          "configuration is correct?");
    }
    if (Authenticate(call, "default", call.argv[1])) call.reply->Ok();
    return;
  }
  if (Authenticate(call, call.argv[1], call.argv[2])) call.reply->Ok();
}

void Echo(Call& call) { call.reply->Bulk(call.argv[1]); }

void Ping(Call& call) {
  if (call.argv.size() > 2) return WrongArity(*call.spec, call.reply);
  const ClientState& client = call.session->state();
  if (client.resp == 2 && client.subscribed()) {
    // What a client can tell from messages.
    call.reply->Array(2);
    call.reply->Bulk("pong");
    return call.reply->Bulk(call.argv.size() == 2 ? call.argv[1] : std::string_view());
  }
  if (call.argv.size() == 2) return call.reply->Bulk(call.argv[1]);
  call.reply->Status("PONG");
}

void Hello(Call& call) {
  int64_t version = call.session->state().resp;
  size_t next = 1;
  if (call.argv.size() >= 2) {
    if (!ParseInt64(call.argv[1], &version)) {
      return call.reply->Error("ERR Protocol version is not an integer or out of range");
    }
    if (version < 2 || version > 3) return call.reply->Error("NOPROTO unsupported protocol version");
    next = 2;
  }
  std::optional<std::string_view> user, password, name;
  for (size_t i = next; i < call.argv.size();) {
    const size_t more = call.argv.size() - i - 1;
    if (IsWord(call.argv[i], "AUTH") && more >= 2) {
      user = call.argv[i + 1];
      password = call.argv[i + 2];
      i += 3;
    } else if (IsWord(call.argv[i], "SETNAME") && more >= 1) {
      name = call.argv[i + 1];
      if (!IsClientName(*name)) {
        return call.reply->Error("ERR Client names cannot contain spaces, newlines or special characters.");
      }
      i += 2;
    } else {
      return call.reply->Error("ERR Syntax error in HELLO option '" + std::string(call.argv[i]) + "'");
    }
  }
  if (user.has_value() && !Authenticate(call, *user, *password)) return;
  ClientState& client = call.session->state();
  if (!client.authenticated) {
    return call.reply->Error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> "
        "<pass> option can be used to authenticate the client and select the RESP protocol version at the same time");
  }
  if (name.has_value()) client.name = *name;
  client.resp = static_cast<uint8_t>(version);
  call.reply->set_resp(static_cast<int>(version));

  ReplyWriter& r = *call.reply;
  r.Map(7);
  r.Bulk("server");
  r.Bulk("redis");
  r.Bulk("version");
  r.Bulk(kRedisVersion);
  r.Bulk("proto");
  r.Integer(version);
  r.Bulk("id");
  r.Integer(static_cast<int64_t>(client.id));
  r.Bulk("mode");
  r.Bulk(call.config->cluster_enabled ? "cluster" : "standalone");
  r.Bulk("role");
  r.Bulk("master");
  r.Bulk("modules");
  r.Array(0);
}

void Quit(Call& call) {
  call.reply->Ok();
  call.session->Close(/*after_replies=*/true);
}

void Reset(Call& call) {
  ClientState& client = call.session->state();
  call.loop->UnsubscribeAll(*call.session);
  client.name.clear();
  client.db = 0;
  client.resp = 2;
  client.authenticated = call.config->requirepass.empty();
  client.user = "default";
  client.readonly = client.asking = client.no_evict = client.no_touch = false;
  client.reply_mode = ClientReplyMode::kOn;
  call.reply->set_resp(2);
  call.reply->Status("RESET");
}

void Select(Call& call) {
  int64_t db;
  if (!ParseInt64(call.argv[1], &db)) return call.reply->NotAnInteger();
  if (db < std::numeric_limits<int32_t>::min() || db > std::numeric_limits<int32_t>::max()) {
    return call.reply->Error("ERR value is out of range, value must between -2147483648 and 2147483647");
  }
  if (call.config->cluster_enabled && db != 0) return call.reply->Error("ERR SELECT is not allowed in cluster mode");
  if (db < 0 || db >= static_cast<int64_t>(call.config->databases)) {
    return call.reply->Error("ERR DB index is out of range");
  }
  call.session->state().db = static_cast<uint32_t>(db);
  call.reply->Ok();
}

constexpr uint32_t kEarly = kFlagNoscript | kFlagLoading | kFlagStale | kFlagFast | kFlagNoAuth | kFlagAllowBusy;

constexpr ArgDoc kAuthArgs[] = {{.name = "username", .type = "string", .flags = ArgDoc::kOptional, .since = "6.0.0"},
                                {.name = "password", .type = "string"}};
constexpr ArgDoc kEchoArgs[] = {{.name = "message", .type = "string"}};
constexpr ArgDoc kPingArgs[] = {{.name = "message", .type = "string", .flags = ArgDoc::kOptional}};
constexpr const char* kPingTips[] = {"request_policy:all_shards", "response_policy:all_succeeded"};
constexpr CommandNote kAuthHistory[] = {{"6.0.0", "Added ACL style (username and password)."}};
constexpr CommandNote kHelloHistory[] = {
    {"6.2.0",
     "`protover` made optional; when called without arguments the command reports the current connection's context."}};
constexpr ArgDoc kSelectArgs[] = {{.name = "index", .type = "integer"}};
constexpr ArgDoc kHelloAuth[] = {{.name = "username", .type = "string"}, {.name = "password", .type = "string"}};
constexpr ArgDoc kHelloBlock[] = {
    {.name = "protover", .type = "integer"},
    {.name = "auth", .type = "block", .token = "AUTH", .flags = ArgDoc::kOptional, .arguments = kHelloAuth},
    {.name = "clientname", .type = "string", .token = "SETNAME", .flags = ArgDoc::kOptional}};
constexpr ArgDoc kHelloArgs[] = {
    {.name = "arguments", .type = "block", .flags = ArgDoc::kOptional, .arguments = kHelloBlock}};

}  // namespace

std::span<const CommandSpec> ConnectionCommands() {
  static const CommandSpec kRows[] = {
      {.name = "auth",
       .group = "connection",
       .since = "1.0.0",
       .summary = "Authenticates the connection.",
       .complexity = "O(N) where N is the number of passwords defined for the user",
       .arity = -2,
       .flags = kEarly,
       .acl = kAclConnection,
       .scope = Scope::kSession,
       .run = Auth,
       .args = kAuthArgs,
       .history = kAuthHistory},
      {.name = "client",
       .group = "connection",
       .since = "2.4.0",
       .summary = "A container for client connection commands.",
       .complexity = "Depends on subcommand.",
       .arity = -2,
       .flags = 0,
       .acl = 0,
       .scope = Scope::kSession,
       .run = nullptr,
       .subcommands = ClientSubcommands()},
      {.name = "echo",
       .group = "connection",
       .since = "1.0.0",
       .summary = "Returns the given string.",
       .complexity = "O(1)",
       .arity = 2,
       .flags = kFlagLoading | kFlagStale | kFlagFast,
       .acl = kAclConnection,
       .scope = Scope::kSession,
       .run = Echo,
       .args = kEchoArgs},
      {.name = "hello",
       .group = "connection",
       .since = "6.0.0",
       .summary = "Handshakes with the Redis server.",
       .complexity = "O(1)",
       .arity = -1,
       .flags = kEarly,
       .acl = kAclConnection,
       .scope = Scope::kSession,
       .run = Hello,
       .args = kHelloArgs,
       .history = kHelloHistory},
      {.name = "ping",
       .group = "connection",
       .since = "1.0.0",
       .summary = "Returns the server's liveliness response.",
       .complexity = "O(1)",
       .arity = -1,
       .flags = kFlagFast,
       .acl = kAclConnection,
       .scope = Scope::kSession,
       .run = Ping,
       .args = kPingArgs,
       .tips = kPingTips},
      {.name = "quit",
       .group = "connection",
       .since = "1.0.0",
       .summary = "Closes the connection.",
       .complexity = "O(1)",
       .arity = -1,
       .flags = kEarly,
       .acl = kAclConnection,
       .scope = Scope::kSession,
       .run = Quit},
      {.name = "reset",
       .group = "connection",
       .since = "6.2.0",
       .summary = "Resets the connection.",
       .complexity = "O(1)",
       .arity = 1,
       .flags = kEarly,
       .acl = kAclConnection,
       .scope = Scope::kSession,
       .run = Reset},
      {.name = "select",
       .group = "connection",
       .since = "1.0.0",
       .summary = "Changes the selected database.",
       .complexity = "O(1)",
       .arity = 2,
       .flags = kFlagLoading | kFlagStale | kFlagFast,
       .acl = kAclConnection,
       .scope = Scope::kSession,
       .run = Select,
       .args = kSelectArgs},
  };
  return kRows;
}

}  // namespace skein::node
