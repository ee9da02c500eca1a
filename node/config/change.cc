#include "node/config/change.h"

#include <algorithm>
#include <set>

#include "node/config/check.h"
#include "node/config/directives.h"
#include "node/config/text.h"

namespace skein::node {
namespace {

absl::Status SetFailed(std::string_view name, std::string_view why) {
  return absl::InvalidArgumentError(Cat("ERR CONFIG SET failed (possibly related to argument '", name, "') - ", why));
}

}  // namespace

ConfigPairs ConfigGet(const Config& config, const std::string& pattern) {
  ConfigPairs found;
  for (const Directive& d : Directives()) {
    if (d.Is(Directive::kHidden)) continue;
    for (const std::string_view name : {d.name, d.alias}) {
      if (!name.empty() && MatchName(pattern, std::string(name))) found.emplace_back(name, DirectiveValue(d, config));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

absl::StatusOr<Config> ConfigSet(const Config& base, const ConfigPairs& pairs) {
  // Names are looked at before values, so that a reply never depends on a value where the name is wrong already.
  std::vector<const Directive*> directives;
  std::set<const Directive*> seen;
  for (const auto& [name, value] : pairs) {
    const Directive* const d = FindDirective(name);
    if (d == nullptr || (d->Is(Directive::kHidden) && d->role != Directive::Role::kBound)) {
      return absl::InvalidArgumentError(Cat("ERR Unknown option or number of arguments for CONFIG SET - '", name, "'"));
    }
    if (d->Is(Directive::kImmutable)) return SetFailed(name, "can't set immutable config");
    if (d->Is(Directive::kProtected)) return SetFailed(name, "can't set protected config");
    if (!seen.insert(d).second) return SetFailed(name, "duplicate parameter");
    directives.push_back(d);
  }
  Config config = base;
  for (size_t i = 0; i < pairs.size(); ++i) {
    absl::Status status;
    if (directives[i]->Is(Directive::kAppends)) status = ApplyDirective(*directives[i], {""}, &config);
    if (status.ok()) status = ApplyDirective(*directives[i], {pairs[i].second}, &config);
    if (!status.ok()) return SetFailed(pairs[i].first, std::string(status.message()));
  }
  if (const absl::Status status = CheckCombinations(config); !status.ok()) {
    return SetFailed(pairs.back().first, std::string(status.message()));
  }
  return config;
}

}  // namespace skein::node
