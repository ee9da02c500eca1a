#include "node/config/directives.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "node/config/text.h"

namespace skein::node {
namespace {

using Type = Directive::Type;
using Role = Directive::Role;
using Words = std::vector<std::string>;

absl::Status Refused(std::string_view why) { return absl::InvalidArgumentError(std::string(why)); }

// Checks the one word of a scalar directive and brings it to the form that CONFIG GET shows.
absl::StatusOr<std::string> Canonical(const Directive& d, const std::string& word) {
  switch (d.type) {
    case Type::kBool: {
      const std::string lower = Lower(word);
      if (lower != "yes" && lower != "no") return Refused("argument must be 'yes' or 'no'");
      return lower;
    }
    case Type::kInteger: {
      const std::optional<int64_t> number = ParseInteger(word);
      if (!number) return Refused("argument couldn't be parsed into an integer");
      if (*number < d.min || *number > d.max) {
        return Refused(Cat("argument must be between ", d.min, " and ", d.max, " inclusive"));
      }
      return Cat(*number);
    }
    case Type::kMemory: {
      const std::optional<uint64_t> bytes = ParseMemory(word);
      if (!bytes) return Refused("argument must be a memory value");
      if (*bytes < static_cast<uint64_t>(d.min) || *bytes > static_cast<uint64_t>(d.max)) {
        return Refused(Cat("argument must be between ", d.min, " and ", d.max, " inclusive"));
      }
      return Cat(*bytes);
    }
    case Type::kEnum: {
      const std::string lower = Lower(word);
      if (std::find(d.choices.begin(), d.choices.end(), lower) == d.choices.end()) {
        return Refused(
            Cat("argument(s) must be one of the following: ", Join({d.choices.begin(), d.choices.end()}, ", ")));
      }
      return lower;
    }
    case Type::kString:
    case Type::kWords:
    case Type::kCustom:
      break;
  }
  // A file name or an address with a zero byte would be cut where the operating system reads it.
  if (word.find('\0') != std::string::npos) return Refused("argument contains a zero byte");
  return word;
}

void Store(const Directive& d, const std::string& value, Config* config) {
  std::visit(
      [&](auto member) {
        using Member = decltype(member);
        if constexpr (std::is_same_v<Member, bool Config::*>) {
          config->*member = value == "yes";
        } else if constexpr (std::is_same_v<Member, std::string Config::*>) {
          config->*member = value;
        } else if constexpr (std::is_same_v<Member, std::monostate> ||
                             std::is_same_v<Member, std::vector<std::string> Config::*>) {
          // Kept and fixed directives have no field; lists are stored by the caller.
        } else {
          using Number = std::remove_reference_t<decltype(config->*member)>;
          config->*member = d.type == Type::kMemory ? static_cast<Number>(*ParseMemory(value))
                                                    : static_cast<Number>(*ParseInteger(value));
        }
      },
      d.field);
}

// Words of a list: arguments may also come as one quoted run ("a b"), as CONFIG SET gives them.
Words Flatten(const Words& words) { return SplitBlanks(Join(words, " ")); }

absl::Status ApplyList(const Directive& d, const Words& words, Config* config) {
  const Words list = Flatten(words);
  if (d.role == Role::kBound) {
    config->*std::get<std::vector<std::string> Config::*>(d.field) = list;
  } else if (const std::string text = Join(list, " "); d.role == Role::kKept) {
    config->kept[std::string(d.name)] = text;
  } else if (text != d.standard && !(d.standard.empty() && SameName(text, "no one"))) {
    return Refused(d.why);
  }
  return absl::OkStatus();
}

absl::Status ApplyScalar(const Directive& d, const Words& words, Config* config) {
  if (words.size() != 1) return Refused("wrong number of arguments");
  const absl::StatusOr<std::string> value = Canonical(d, words[0]);
  if (!value.ok()) return value.status();
  switch (d.role) {
    case Role::kBound:
      Store(d, *value, config);
      break;
    case Role::kKept:
      config->kept[std::string(d.name)] = *value;
      break;
    case Role::kFixed:
      if (*value != d.standard) return Refused(d.why);
  }
  return absl::OkStatus();
}

std::string FieldText(const Directive& d, const Config& config) {
  return std::visit(
      [&](auto member) -> std::string {
        using Member = decltype(member);
        if constexpr (std::is_same_v<Member, std::monostate>) {
          return std::string(d.standard);
        } else if constexpr (std::is_same_v<Member, bool Config::*>) {
          return config.*member ? "yes" : "no";
        } else if constexpr (std::is_same_v<Member, std::string Config::*>) {
          return config.*member;
        } else if constexpr (std::is_same_v<Member, std::vector<std::string> Config::*>) {
          return Join(config.*member, " ");
        } else {
          return Cat(config.*member);
        }
      },
      d.field);
}

}  // namespace

std::span<const Directive> Directives() {
  static const std::vector<Directive>* const table = [] {
    auto* rows = new std::vector<Directive>(internal::BoundDirectives());
    for (Directive& row : internal::TlsDirectives()) rows->push_back(std::move(row));
    for (Directive& row : internal::ReplicationDirectives()) rows->push_back(std::move(row));
    for (Directive& row : internal::CompatDirectives()) rows->push_back(std::move(row));
    std::sort(rows->begin(), rows->end(), [](const Directive& a, const Directive& b) { return a.name < b.name; });
    return rows;
  }();
  return *table;
}

const Directive* FindDirective(std::string_view name) {
  for (const Directive& d : Directives()) {
    if (SameName(d.name, name) || (!d.alias.empty() && SameName(d.alias, name))) return &d;
  }
  return nullptr;
}

std::string_view NearestDirective(std::string_view name) {
  std::string_view best;
  // A third of the letters wrong is no longer a slip of the hand.
  uint32_t limit = std::clamp<uint32_t>(static_cast<uint32_t>(name.size()) / 3, 1, 4);
  for (const Directive& d : Directives()) {
    for (const std::string_view known : {d.name, d.alias}) {
      if (known.empty()) continue;
      const uint32_t distance = EditDistance(name, known, limit);
      if (distance > limit || (distance == limit && !best.empty())) continue;
      limit = distance;
      best = known;
    }
  }
  return best;
}

absl::Status ApplyDirective(const Directive& d, const Words& words, Config* config) {
  if (words.empty()) return Refused("wrong number of arguments");
  if (d.type == Type::kCustom) return d.parse(words, config);
  if (d.type == Type::kWords) return ApplyList(d, words, config);
  return ApplyScalar(d, words, config);
}

std::string DirectiveValue(const Directive& d, const Config& config) {
  if (d.type == Type::kCustom) return Join(d.format(config), " ");
  if (d.role == Role::kKept) {
    const auto it = config.kept.find(std::string(d.name));
    return it == config.kept.end() ? std::string(d.standard) : it->second;
  }
  return FieldText(d, config);
}

std::vector<std::string> DirectiveLines(const Directive& d, const Config& config) {
  std::vector<std::string> lines;
  if (d.type == Type::kCustom) {
    for (const std::string& line : d.format(config)) {
      lines.push_back(Cat(d.name, " ", line.empty() ? "\"\"" : line));
    }
    return lines;
  }
  std::string value = DirectiveValue(d, config);
  if (d.type == Type::kMemory) value = FormatMemory(*ParseMemory(value));
  if (d.type == Type::kWords && !value.empty()) {
    lines.push_back(Cat(d.name, " ", value));
  } else {
    lines.push_back(Cat(d.name, " ", QuoteWord(value)));
  }
  return lines;
}

}  // namespace skein::node
