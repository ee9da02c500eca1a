// The process' log: glog, to standard error or to --logfile, at a level that can be set at run time.
//
// Nothing that a client sends and no directive marked as secret is ever written to it.
#ifndef SKEIN_NODE_LOG_LOGGING_H_
#define SKEIN_NODE_LOG_LOGGING_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "node/config/config.h"

namespace skein::node {

// Once, before any other thread exists. With a log file, standard error goes there too, so that what the runtime says
// of a crash is found beside the rest. FailedPrecondition if the file cannot be opened (exit code 2).
absl::Status StartLogging(const char* program, const Config& config);

// A value of --loglevel; any thread. debug: VLOG(2) and up; verbose: VLOG(1); notice: INFO; warning: WARNING; nothing:
// only what ends the process.
void SetLogLevel(std::string_view loglevel);

// What was started, on one line, and the directives that have no effect.
void LogBanner(const Config& config, uint32_t loops, uint32_t shards);

}  // namespace skein::node

#endif  // SKEIN_NODE_LOG_LOGGING_H_
