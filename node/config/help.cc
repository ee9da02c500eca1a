// --help and --version, generated from the table.
#include "node/config/directives.h"
#include "node/config/load.h"
#include "node/config/text.h"
#include "node/version.h"

namespace skein::node {
namespace {

void AddNames(Directive::Role role, std::string* text) {
  size_t column = 0;
  for (const Directive& d : Directives()) {
    if (d.role != role) continue;
    if (column == 0 || column + d.name.size() > 100) {
      *text += column == 0 ? "    " : "\n    ";
      column = 4;
    }
    Append(text, d.name, " ");
    column += d.name.size() + 1;
  }
  *text += "\n";
}

}  // namespace

std::string HelpText() {
  std::string text =
      "Usage: skein-node [file.conf] [-] [--name value ...] [--name=value] [--check-config]\n"
      "       skein-node --help | --version\n\n"
      "'-' reads directives from standard input. The command line wins over standard input, that over the file.\n"
      "--check-config says what starting would refuse, and changes nothing.\n\n"
      "Directives, with their defaults:\n";
  const Config defaults;
  for (const Directive& d : Directives()) {
    if (d.role != Directive::Role::kBound || d.Is(Directive::kHidden)) continue;
    for (const std::string& line : DirectiveLines(d, defaults)) Append(&text, "  --", line, "\n");
    Append(&text, "        ", d.help, d.Is(Directive::kImmutable) ? " Set at start only.\n" : "\n");
  }
  text += "\nAccepted for compatibility, without effect (a line in the log says why):\n";
  AddNames(Directive::Role::kKept, &text);
  text += "\nKnown, and refused with the reason unless it is Redis' default:\n";
  AddNames(Directive::Role::kFixed, &text);
  return text;
}

std::string VersionText() { return Cat("skein-node ", kSkeinVersion, " (commands of Redis ", kRedisVersion, ")\n"); }

}  // namespace skein::node
