// While it lives, the calling thread has all signals blocked; threads it starts inherit that, so that the process's
// signals go to the thread that waits for them.
#ifndef SKEIN_BUS_QUIET_SIGNALS_H_
#define SKEIN_BUS_QUIET_SIGNALS_H_

#include <signal.h>

namespace skein::bus {

class QuietSignals {
 public:
  QuietSignals() {
    sigset_t all;
    sigfillset(&all);
    // Those that report a fault of the thread itself must not be blocked.
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~QuietSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  QuietSignals(const QuietSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_QUIET_SIGNALS_H_
