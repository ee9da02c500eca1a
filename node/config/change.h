// The configuration at run time: CONFIG GET, SET and REWRITE. Pure, except that ConfigRewrite writes the file.
#ifndef SKEIN_NODE_CONFIG_CHANGE_H_
#define SKEIN_NODE_CONFIG_CHANGE_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "node/config/config.h"

namespace skein::node {

using ConfigPairs = std::vector<std::pair<std::string, std::string>>;

// Names (older ones too) that match the glob `pattern`, ignoring case, with their values; sorted by name.
ConfigPairs ConfigGet(const Config& config, const std::string& pattern);

// `base` with all of `pairs` set, or an error whose message is the whole reply as Redis words it ("ERR CONFIG SET
// failed (possibly related to argument 'port') - can't set immutable config"). The combinations are checked.
absl::StatusOr<Config> ConfigSet(const Config& base, const ConfigPairs& pairs);

// Brings config.config_file up to `config`: lines that still say the same stay as they are, others are changed in
// place, what the file does not say is added at its end; comments and order stay. The new file replaces the old one in
// one step, and is on disk before this returns. An error's message is the whole reply ("ERR The server is running
// without a config file").
absl::Status ConfigRewrite(const Config& config);

// The text part of ConfigRewrite. `name` is the file's, for messages and include.
absl::StatusOr<std::string> RewriteText(std::string_view old_text, const std::string& name, const Config& config);

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_CHANGE_H_
