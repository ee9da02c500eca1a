#include "node/log/logging.h"

#include <fcntl.h>
#include <gflags/gflags.h>
#include <glog/logging.h>
#include <google/protobuf/stubs/logging.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "node/config/check.h"
#include "node/config/text.h"
#include "node/version.h"

namespace skein::node {
namespace {

// Through gflags, which glog's settings are flags of: other threads read them while they change.
void SetFlag(const char* name, const std::string& value) {
  CHECK(!google::SetCommandLineOption(name, value.c_str()).empty()) << "glog has no flag " << name;
}

}  // namespace

absl::Status StartLogging(const char* program, const Config& config) {
  if (!config.logfile.empty()) {
    const std::string path = config.logfile.starts_with('/') ? config.logfile : Cat(config.dir, "/", config.logfile);
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return absl::FailedPreconditionError(Cat("'logfile ", config.logfile, "': ", strerror(errno)));
    const int moved = dup2(fd, STDERR_FILENO), error = errno;
    close(fd);
    if (moved < 0) return absl::FailedPreconditionError(Cat("'logfile ", config.logfile, "': ", strerror(error)));
  }
  SetFlag("logtostderr", "true");
  SetFlag("colorlogtostderr", "false");
  SetLogLevel(config.loglevel);
  if (!google::IsGoogleLoggingInitialized()) google::InitGoogleLogging(program);
  // A peer's malformed message is counted by the bus; it must not be able to fill the log.
  google::protobuf::SetLogHandler(nullptr);
  return absl::OkStatus();
}

void SetLogLevel(std::string_view loglevel) {
  const int severity = loglevel == "warning"   ? google::GLOG_WARNING
                       : loglevel == "nothing" ? google::GLOG_FATAL
                                               : google::GLOG_INFO;
  const int verbosity = loglevel == "debug" ? 2 : loglevel == "verbose" ? 1 : 0;
  SetFlag("minloglevel", Cat(severity));
  SetFlag("v", Cat(verbosity));
}

void LogBanner(const Config& config, uint32_t loops, uint32_t shards) {
  std::string mode = "no cluster";
  if (config.cluster_enabled) mode = Cat("bus port ", BusPort(config));
  LOG(INFO) << "skein-node " << kSkeinVersion << " (commands of Redis " << kRedisVersion << "), pid " << getpid()
            << ", port " << config.port << ", " << mode << ", " << loops << " loops, " << shards << " shards, dir "
            << config.dir << ", " << (config.config_file.empty() ? "no configuration file" : config.config_file);
  for (const std::string& note : config.notes) LOG(INFO) << "configuration: " << note;
}

}  // namespace skein::node
