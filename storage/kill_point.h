// Places where a test kills the process by name: between any two steps of every change of what is on disk.
//
// In production this is one relaxed load. Names are dotted: "rewrite.base-synced". tests/crash lists them from
// AllKillPoints, so that each one is visited; a name that is not in the list does not compile into a call.
#ifndef SKEIN_STORAGE_KILL_POINT_H_
#define SKEIN_STORAGE_KILL_POINT_H_

#include <atomic>
#include <functional>
#include <span>
#include <string_view>

namespace skein::storage {

// Every name there is, in the order in which a life meets them. Add yours here.
inline constexpr std::string_view kKillPoints[] = {
    // First start in an empty folder.
    "create.shards-synced",
    "create.manifest-synced",
    "create.renamed",
    "create.synced",
    // Any change of the manifest.
    "manifest.aside-written",
    "manifest.aside-synced",
    "manifest.renamed",
    "manifest.folder-synced",
    // Opening, once all shards have been read.
    "open.tail-cut",
    "open.tail-synced",
    "open.reign-written",
    "open.reign-synced",
    "open.listed",
    "open.leftovers-removed",
    // An RDB file.
    "rdb.made",
    "rdb.synced",
    "rdb.renamed",
    "rdb.folder-synced",
    // A rewrite, around rotate and install.
    "rewrite.base-made",
    "rewrite.base-synced",
    "rewrite.log-durable",
    // A new incr file.
    "rotate.file-made",
    "rotate.folder-synced",
    "rotate.old-synced",
    "rotate.header-synced",
    "rotate.listed",
    // A new base.
    "install.folder-synced",
    "install.listed",
    "install.old-removed",
    // The way back from a failed sync.
    "revive.file-made",
    "revive.folder-synced",
    "revive.listed",
    "revive.adopted",
    // A small file replaced as a whole: the manifest of a new data set, a list of moves.
    "replace.aside-written",
    "replace.aside-synced",
    "replace.renamed",
    "replace.folder-synced",
    // The log is switched on while the node runs: what was there is moved aside, the new folder takes its place.
    "switch.aside-moved",
    "switch.aside-synced",
    "switch.opened",
    "switch.bases-listed",
    "switch.renamed",
    "switch.synced",
    // It is switched off.
    "switch.marked-off",
    "switch.detached",
    // A replica's data set of another number of shards, around the reloads of all of them.
    "inherit.opened",
    "inherit.closed",
    "inherit.swapped",
    "inherit.moves-listed",
    "inherit.in-place",
    "inherit.old-removed",
    // A replica's shard is replaced by a base of its primary's.
    "reload.base-synced",
    "reload.file-made",
    "reload.folder-synced",
    "reload.listed",
    "reload.adopted",
    "reload.old-removed",
    // A loser's records are kept aside, and its log is cut.
    "lost.synced",
    "lost.renamed",
    "lost.folder-synced",
    "cut.listed",
    "cut.truncated",
    "cut.synced",
    // A replica becomes a primary.
    "promote.reigns-durable",
    "promote.reigns-listed",
    // The primary's end of a flow: it was asked, tells that the logs part, sends a base, sends records; a replica's end
    // of an inquiry: it has told what it knows.
    "flow.asked",
    "flow.parted",
    "flow.base-begun",
    "flow.base-piece",
    "flow.base-sent",
    "flow.records-sent",
    "flow.told",
    // The replica's end of it: the answer is there, a base comes, records have been taken and are not on disk, the logs
    // part.
    "follow.answered",
    "follow.base-begun",
    "follow.base-piece",
    "follow.base-fed",
    "follow.base-done",
    "follow.records-taken",
    "follow.parted",
    "follow.set-aside",
    "follow.cut",
    // A primary that restarts asks its replicas what they know, fetches that, and begins.
    "ask.begun",
    "ask.answered",
    "ask.fetching",
    "ask.fetched",
    "ask.ended",
    // A replica becomes a primary, around the promote points: its logs have begun a reign; nobody may write yet.
    "reign.begun",
    "reign.durable",
    // A data set written out of memory: conversion, reshard.
    "layout.moves-listed",
    "layout.base-synced",
    "layout.incr-synced",
    "layout.shards-synced",
    "layout.manifest-synced",
    // A data set copied up to a point in time.
    "restore.moves-listed",
    "restore.shard-copied",
    "restore.shards-synced",
    "restore.manifest-synced",
    // It takes the place of what the folder held.
    "flip.new-synced",
    "flip.moved",
    "flip.move-synced",
    "flip.renamed",
    "flip.synced",
    // Everything as one RDB file.
    "export.written",
    "export.synced",
    "export.renamed",
    "export.folder-synced",
    // What ops/aof repair changes.
    "repair.damaged-kept",
    "repair.manifest-made",
    "repair.tail-cut",
    "repair.tail-synced",
    // Closing.
    "close.logs-ended",
    "close.listed",
};

// A name in the list.
class KillPointName {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): a name stands for its place.
  consteval KillPointName(const char* name) : name_(name) {
    for (const std::string_view known : kKillPoints) {
      if (known == name_) return;
    }
    throw "there is no such kill point";  // reached in a constant expression: does not compile
  }
  constexpr std::string_view name() const { return name_; }

 private:
  std::string_view name_;
};

namespace internal {
extern std::atomic<bool> kill_points_armed;
void ReachKillPoint(std::string_view name);
}  // namespace internal

// Any thread.
inline void KillPoint(KillPointName point) {
  if (internal::kill_points_armed.load(std::memory_order_relaxed)) internal::ReachKillPoint(point.name());
}

// Kills the process (SIGKILL) at the `nth` time that it comes to `name`. False if there is no such name, or nth is not
// positive.
bool ArmKillPoint(std::string_view name, int nth = 1);
// The same from the environment variable SKEIN_KILL_AT, "name" or "name:nth", if it is set. False if that makes no
// sense. For the start of a process.
bool ArmKillPointFromEnvironment();
// Instead of killing, calls `hook` at every point; null disarms. For tests inside one process.
void SetKillPointHook(std::function<void(std::string_view name)> hook);
// Every name there is.
std::span<const std::string_view> AllKillPoints();

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_KILL_POINT_H_
