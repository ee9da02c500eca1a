// The pages under ops/runbooks that refusals and -MISCONF replies send a person to (L46).
//
// A name that has no page does not compile. tests/e2e/test_runbooks.py checks that each page is there and quotes the
// messages that name it.
#ifndef SKEIN_STORAGE_RUNBOOK_H_
#define SKEIN_STORAGE_RUNBOOK_H_

#include <string>
#include <string_view>

namespace skein::storage {

inline constexpr std::string_view kRunbooks[] = {
    "disk-full",              // no room, or not writable: writes are refused
    "failed-sync",            // a failed fsync: the process ended, or writes are off
    "torn-tail",              // the end of a log is incomplete
    "corrupt-file",           // damage before the end of a log, in a base, or in an imported file
    "corrupt-manifest",       // the manifest is damaged or gone
    "missing-file",           // the manifest lists a base or an incr that is not there
    "shard-count",            // storage-shards or databases do not fit the data
    "folder-in-use",          // another process has the folder
    "switched-off",           // the log was switched off: what was written since then is not in it
    "newer-version",          // written by a version that is newer than this one
    "from-redis",             // coming from Redis or Valkey: dump.rdb, appendonlydir, appendonly.aof
    "back-to-redis",          // going back
    "restore-point-in-time",  // an earlier state into a new folder
};

class Runbook {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): a name stands for its page.
  consteval Runbook(const char* name) : name_(name) {
    for (const std::string_view known : kRunbooks) {
      if (known == name_) return;
    }
    throw "there is no such page";  // reached in a constant expression: does not compile
  }
  std::string_view name() const { return name_; }

 private:
  std::string_view name_;
};

// What ends a message: "; see ops/runbooks/NAME.md".
inline std::string SeeRunbook(Runbook page) { return "; see ops/runbooks/" + std::string(page.name()) + ".md"; }

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_RUNBOOK_H_
