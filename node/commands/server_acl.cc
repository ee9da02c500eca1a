// ACL, as far as there is one: the user "default", who may do everything, with or without a password.
#include <openssl/sha.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "node/commands/command_words.h"
#include "node/commands/help.h"
#include "node/commands/parse.h"
#include "node/commands/server.h"
#include "node/config/config.h"
#include "node/session.h"

namespace skein::node {
namespace {

void AclCat(Call& call) {
  if (call.argv.size() > 3) {
    return call.reply->Error("ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.");
  }
  if (call.argv.size() == 2) {
    call.reply->Array(std::size(kAclCategoryWords));
    for (const FlagWord& w : kAclCategoryWords) call.reply->Bulk(w.word + 1);  // without the '@'
    return;
  }
  const auto* const word = std::find_if(std::begin(kAclCategoryWords), std::end(kAclCategoryWords),
                                        [&](const FlagWord& w) { return IsWord(call.argv[2], w.word + 1); });
  if (word == std::end(kAclCategoryWords)) {
    return call.reply->Error(fmt::format("ERR Unknown category '{}'", call.argv[2].substr(0, 128)));
  }
  std::vector<std::string> names;
  for (const CommandSpec* spec : AllCommands()) {
    if ((CategoriesOf(*spec) & word->flag) != 0) names.push_back(FullName(*spec));
    for (const CommandSpec& sub : spec->subcommands) {
      if ((CategoriesOf(sub) & word->flag) != 0) names.push_back(FullName(sub));
    }
  }
  call.reply->Array(names.size());
  for (const std::string& name : names) call.reply->Bulk(name);
}

std::string PasswordHash(const std::string& password) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(password.data()), password.size(), digest);
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

void AclList(Call& call) {
  const std::string& password = call.config->requirepass;
  call.reply->Array(1);
  call.reply->Bulk(
      fmt::format("user default on {} ~* &* +@all", password.empty() ? "nopass" : "#" + PasswordHash(password)));
}

void AclUsers(Call& call) {
  call.reply->Array(1);
  call.reply->Bulk("default");
}

void AclWhoami(Call& call) { call.reply->Bulk(call.session->state().user); }

void AclHelp(Call& call) {
  static constexpr std::string_view kLines[] = {
      "CAT [<category>]",
      "    List all commands that belong to <category>, or all command categories",
      "    when no category is specified.",
      "LIST",
      "    Show users details in config file format.",
      "USERS",
      "    List all the registered usernames.",
      "WHOAMI",
      "    Return the current connection username.",
  };
  ReplyHelp(call, "ACL", kLines);
}

constexpr uint32_t kOpen = kFlagNoscript | kFlagLoading | kFlagStale;
constexpr ArgDoc kCatArgs[] = {{.name = "category", .type = "string", .flags = ArgDoc::kOptional}};

CommandSpec Row(const char* name, const char* summary, const char* complexity, int arity, uint32_t flags,
                void (*run)(Call&), std::span<const ArgDoc> args = {}) {
  return {.name = name,
          .group = "server",
          .since = "6.0.0",
          .summary = summary,
          .complexity = complexity,
          .arity = arity,
          .flags = flags,
          .acl = 0,
          .scope = Scope::kSession,
          .run = run,
          .args = args,
          .parent = "acl"};
}

}  // namespace

std::span<const CommandSpec> AclSubcommands() {
  static const CommandSpec kRows[] = {
      Row("cat", "Lists the ACL categories, or the commands inside a category.",
          "O(1) since the categories and commands are a fixed set.", -2, kOpen, AclCat, kCatArgs),
      Row("help", "Returns helpful text about the different subcommands.", "O(1)", 2, kFlagLoading | kFlagStale,
          AclHelp),
      Row("list", "Dumps the effective rules in ACL file format.", "O(N). Where N is the number of configured users.",
          2, kOpen | kFlagAdmin, AclList),
      Row("users", "Lists all ACL users.", "O(N). Where N is the number of configured users.", 2, kOpen | kFlagAdmin,
          AclUsers),
      Row("whoami", "Returns the authenticated username of the current connection.", "O(1)", 2, kOpen, AclWhoami),
  };
  return kRows;
}

}  // namespace skein::node
