// From directives to what the parts of the node are started with. Starting and --check-config both pass through
// CheckBeforeOpening and these options, so that neither refuses what the other takes (L14, L45).
#ifndef SKEIN_NODE_CONFIG_START_H_
#define SKEIN_NODE_CONFIG_START_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bus/bus.h"
#include "bus/tls/tls.h"
#include "node/config/config.h"
#include "storage/data_set.h"

namespace skein::node {

// Callbacks are the caller's to add.
storage::DataSetOptions DataSetOptionsOf(const Config& config);
storage::SaveOptions SaveOptionsOf(const Config& config);
// With cluster-enabled yes.
bus::BusOptions BusOptionsOf(const Config& config);

// What the tls-* directives say, with whole paths.
bus::TlsOptions TlsOptionsOf(const Config& config);
// The certificates, if anything needs them (TlsInUse); else null.
absl::StatusOr<bus::TlsContextPtr> TlsContextOf(const Config& config);

// What starting refuses before it opens the data folder (which reads all of it, and refuses in the words of
// DataSet::Check): combinations, files, the bus's state. Changes nothing.
absl::Status CheckBeforeOpening(const Config& config);

// Everything that starting would refuse: combinations, folders and files, the data folder, the bus's state. Changes
// nothing. The process exits with code 2 on an error.
absl::Status CheckAll(const Config& config);

// A file that a directive names: relative names live in `dir`.
std::string PathOf(const Config& config, const std::string& file);

}  // namespace skein::node

#endif  // SKEIN_NODE_CONFIG_START_H_
