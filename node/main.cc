// skein-node: one node.
//
// Exit codes: 0 a clean stop; 1 it ended because it could not go on (a failed sync under `always`, a failed last sync);
// 2 it refused to start (configuration, data folder, ports).
#include <glog/logging.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "node/config/check.h"
#include "node/config/load.h"
#include "node/config/start.h"
#include "node/log/logging.h"
#include "node/node_impl.h"
#include "storage/kill_point.h"

namespace skein::node {
namespace {

constexpr int kRefused = 2;
// Descriptors that are not clients': logs, listeners, the bus, shared libraries.
constexpr rlim_t kOtherDescriptors = 512;

int Refuse(const absl::Status& status) {
  std::fprintf(stderr, "skein-node: %s\n", std::string(status.message()).c_str());
  return kRefused;
}

// Room for maxclients descriptors; where the system does not allow that, maxclients gives way, aloud.
void FitDescriptors(Config* config) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t want = config->maxclients + kOtherDescriptors;
  if (limit.rlim_cur >= want) return;
  rlimit raised = limit;
  raised.rlim_cur = want;
  raised.rlim_max = std::max(limit.rlim_max, want);
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return;
  raised.rlim_cur = raised.rlim_max = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  if (limit.rlim_cur >= want) return;
  const rlim_t room = limit.rlim_cur > 2 * kOtherDescriptors ? limit.rlim_cur - kOtherDescriptors : limit.rlim_cur / 2;
  LOG(WARNING) << "maxclients is lowered from " << config->maxclients << " to " << room
               << ": the system allows this process " << limit.rlim_cur << " open files (ulimit -n)";
  config->maxclients = static_cast<uint32_t>(room);
}

// Removes the file when the process ends cleanly.
class PidFile {
 public:
  explicit PidFile(const Config& config) {
    if (config.pidfile.empty()) return;
    path_ = PathOf(config, config.pidfile);
    std::ofstream(path_) << getpid() << "\n";
  }
  ~PidFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;

 private:
  std::string path_;
};

// Until SIGTERM, SIGINT or a SHUTDOWN command.
void AwaitShutdown(NodeImpl& node, int signals) {
  pollfd fds[2] = {{signals, POLLIN, 0}, {node.shutdown_fd(), POLLIN, 0}};
  while (poll(fds, 2, -1) < 0 && errno == EINTR) {
  }
  signalfd_siginfo info;
  if (fds[0].revents != 0 && read(signals, &info, sizeof(info)) == sizeof(info)) {
    LOG(INFO) << "received " << (info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT") << ", stopping";
  }
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  LoadMode mode;
  absl::StatusOr<Config> loaded = LoadConfig(argc, argv, &mode);
  if (mode == LoadMode::kHelp || mode == LoadMode::kVersion) {
    std::fputs((mode == LoadMode::kHelp ? HelpText() : VersionText()).c_str(), stdout);
    return 0;
  }
  if (!loaded.ok()) return Refuse(loaded.status());
  Config config = *std::move(loaded);
  if (!storage::ArmKillPointFromEnvironment()) {
    return Refuse(absl::InvalidArgumentError("SKEIN_KILL_AT names no kill point; it is for tests, unset it"));
  }
  if (mode == LoadMode::kCheckConfig) {
    if (absl::Status status = CheckAll(config); !status.ok()) return Refuse(status);
    std::puts("the configuration is valid");
    return 0;
  }
  // SIGTERM and SIGINT are read from a descriptor; a second SIGINT is not waited for: it ends the process.
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  const int signals = signalfd(-1, &stop, SFD_CLOEXEC);

  if (absl::Status status = StartLogging(argv[0], config); !status.ok()) return Refuse(status);
  if (absl::Status status = CheckBeforeOpening(config); !status.ok()) {
    LOG(ERROR) << status.message();
    return Refuse(status);
  }
  FitDescriptors(&config);
  NodeOptions options;
  options.config = std::make_shared<const Config>(config);
  absl::StatusOr<std::unique_ptr<NodeImpl>> node = NodeImpl::Start(std::move(options));
  if (!node.ok()) {
    LOG(ERROR) << node.status().message();
    return Refuse(node.status());
  }
  const PidFile pid_file(config);
  LogBanner(config, (*node)->loop_count(), (*node)->shard_count());
  if ((*node)->port() != 0) LOG(INFO) << "ready to accept connections on port " << (*node)->port();
  if ((*node)->tls_port() != 0) LOG(INFO) << "ready to accept TLS connections on port " << (*node)->tls_port();

  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  while (true) {
    AwaitShutdown(**node, signals);
    pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
    if ((*node)->PrepareStop().ok()) break;
    pthread_sigmask(SIG_BLOCK, &interrupt, nullptr);
  }
  const absl::Status status = (*node)->Stop();
  node->reset();
  if (!status.ok()) {
    LOG(ERROR) << "stopped, but not all data could be saved: " << status.message();
    return 1;
  }
  LOG(INFO) << "stopped";
  return 0;
}

}  // namespace
}  // namespace skein::node

int main(int argc, char** argv) { return skein::node::Main(argc, argv); }
