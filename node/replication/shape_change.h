// A replica's data set gives way to one of its primary's number of shards and databases, while the node goes on:
// clients stay connected, the bus and what was configured stay as they are.
//
// On a thread of its own: what is under way with the old data set ends, its log is closed, a new one is made whose
// shards wait for their first synchronization, and in a moment in which all loops stand still they take its shards
// instead of the old ones. On disk the old data set stays until the new one is whole (storage/log_set.h,
// OpenInherited).
#ifndef SKEIN_NODE_REPLICATION_SHAPE_CHANGE_H_
#define SKEIN_NODE_REPLICATION_SHAPE_CHANGE_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "node/config/config.h"
#include "storage/data_set.h"

namespace skein::node {

class NodeImpl;

class ShapeChange {
 public:
  // On the thread that has made the change: it has been made, or nothing has changed, and why.
  using Done = std::function<void(const absl::Status&)>;

  explicit ShapeChange(NodeImpl* node) : node_(node) {}
  ~ShapeChange() { Stop(); }
  ShapeChange(const ShapeChange&) = delete;
  ShapeChange& operator=(const ShapeChange&) = delete;

  // Loop 0, one at a time. No loop has a flow any more, and their guards say `reshaping`.
  void Begin(DataShape shape, Done done);
  // Waits for the one that is under way; none begins any more. The loops run. Not on a loop's thread.
  void Stop();

 private:
  absl::Status Change(DataShape shape);
  absl::StatusOr<std::unique_ptr<storage::DataSet>> Open(DataShape shape, std::shared_ptr<storage::FileLock> lock,
                                                         bool append_only);
  // All loops stand still and, if nothing that they have begun needs the old shards, take those of *data, which is the
  // old data set then. False: not yet.
  bool Swap(std::unique_ptr<storage::DataSet>* data);
  // False: Stop has been called.
  bool Pause(int64_t ms);

  NodeImpl* const node_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
  std::shared_ptr<std::atomic<bool>> live_;  // the thread's: whether the loops have the shards of what was opened last
};

}  // namespace skein::node

#endif  // SKEIN_NODE_REPLICATION_SHAPE_CHANGE_H_
