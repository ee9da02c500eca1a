// Fills several shards at once from one stream of items: whoever reads a file hands them on, a few threads put them
// into the tables, each shard always the same one.
#ifndef SKEIN_STORAGE_IMPORT_SHARD_LOADERS_H_
#define SKEIN_STORAGE_IMPORT_SHARD_LOADERS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "storage/shard.h"

namespace skein::storage {

class ShardLoaders {
 public:
  // From now until this has gone, nobody else touches the shards. They decide no expiry from now on.
  explicit ShardLoaders(const std::vector<std::unique_ptr<Shard>>& shards);
  // Ends the threads, once what has been added is in the tables.
  ~ShardLoaders();
  ShardLoaders(const ShardLoaders&) = delete;
  ShardLoaders& operator=(const ShardLoaders&) = delete;

  // Copies the item. Waits while the shard's thread is far behind, so that memory stays bounded. One thread.
  void Add(uint32_t shard, const RdbItem& item);

 private:
  struct Batch;
  class Worker;
  void Hand(uint32_t shard);

  std::vector<Batch> open_;  // by shard
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_IMPORT_SHARD_LOADERS_H_
