// The one table of directives. Command line, configuration file, CONFIG GET/SET/REWRITE, --help and --check-config are
// all made from it; nothing else knows a directive's name.
//
// A directive is one of three:
//   bound    to a field of Config (or to a pair of functions, where a field has a form of its own);
//   kept     known to Redis, accepted with any value that Redis would accept, and without effect here: its `why` says
//            so, and it is logged at start when given. Its value comes back from CONFIG GET;
//   fixed    known to Redis, and only its default can be had here: any other value is refused with its `why`.
#ifndef SKEIN_NODE_CONFIG_DIRECTIVES_H_
#define SKEIN_NODE_CONFIG_DIRECTIVES_H_

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "node/config/config.h"

namespace skein::node {

struct Directive {
  enum class Type : uint8_t { kBool, kInteger, kMemory, kEnum, kString, kWords, kCustom };
  enum class Role : uint8_t { kBound, kKept, kFixed };
  enum Flag : uint32_t {
    kImmutable = 1,   // CONFIG SET refuses it
    kSensitive = 2,   // its value is a secret: never in a log or an error
    kMultiLine = 4,   // may stand several times; each line adds to what the others said (custom ones)
    kAppends = 16,    // each line adds to the value; an empty word forgets it, which CONFIG SET does first
    kProtected = 32,  // CONFIG SET refuses it, as Redis does unless enable-protected-configs says otherwise
    kHidden = 8,      // not shown by CONFIG GET (those that Redis does not show)
  };
  using Field = std::variant<std::monostate, bool Config::*, uint16_t Config::*, uint32_t Config::*, uint64_t Config::*,
                             int64_t Config::*, std::string Config::*, std::vector<std::string> Config::*>;
  // Reads a custom directive's words into the configuration.
  using Parse = absl::Status (*)(const std::vector<std::string>& words, Config*);
  // A custom directive's lines as CONFIG REWRITE writes them (without the name), at least one.
  using Format = std::vector<std::string> (*)(const Config&);

  std::string_view name;
  std::string_view alias = {};  // the older name
  Type type = Type::kString;
  Role role = Role::kBound;
  uint32_t flags = 0;
  Field field = {};
  int64_t min = 0, max = std::numeric_limits<int64_t>::max();
  std::vector<std::string_view> choices = {};  // of kEnum
  std::string_view standard = {};              // default value, if not bound
  std::string_view help = {};
  std::string_view why = {};  // kept and fixed
  Parse parse = nullptr;
  Format format = nullptr;

  bool Is(Flag flag) const { return (flags & flag) != 0; }
};

// The whole table, sorted by name.
std::span<const Directive> Directives();
// By name or older name, ignoring case; null if there is none.
const Directive* FindDirective(std::string_view name);
// The known name nearest to an unknown one; empty if none is near.
std::string_view NearestDirective(std::string_view name);

// Reads `words` (what stands after the name) into `config`. The error's message is the reason alone, worded as Redis
// does where Redis has it ("argument must be 'yes' or 'no'"); it never holds a secret.
absl::Status ApplyDirective(const Directive& directive, const std::vector<std::string>& words, Config* config);

// The value as CONFIG GET shows it.
std::string DirectiveValue(const Directive& directive, const Config& config);
// The lines that set this value, as CONFIG REWRITE writes them, name included; mostly one.
std::vector<std::string> DirectiveLines(const Directive& directive, const Config& config);

namespace internal {
// The parts of the table: directives_bound.cc, directives_tls.cc, directives_replication.cc and directives_compat.cc.
std::vector<Directive> BoundDirectives();
std::vector<Directive> TlsDirectives();
std::vector<Directive> ReplicationDirectives();
std::vector<Directive> CompatDirectives();
}  // namespace internal

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_DIRECTIVES_H_
