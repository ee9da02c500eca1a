#include "storage/data_set_saver.h"

#include "storage/layout.h"

namespace skein::storage {

void DataSetSaver::Begin(const std::vector<Shard*>& shards, DataSet::RunOnShard run_on_shard, SaverLogs* logs) {
  SaverEnv env;
  env.fs = FileSystemOf(options_);
  env.dir = options_.dir;
  env.shards = static_cast<uint32_t>(shards.size());
  for (const Shard* const shard : shards) env.changes += shard->changes();
  env.run_on_shard = std::move(run_on_shard);
  env.logs = logs;
  env.before = before_;
  // Writers that wait for room ask again when they are told of progress, as with room in the log.
  env.on_room = options_.on_progress;
  saver_ = std::make_unique<SaverImpl>(std::move(env), options_.save);
}

void DataSetSaver::End() {
  if (saver_ != nullptr) saver_->Stop();
}

absl::Status DataSetSaver::SaveNow(const std::vector<Shard*>& shards) const {
  return SaveRdbNow(FileSystemOf(options_), options_.dir, saver_ != nullptr ? saver_->options() : options_.save,
                    shards);
}

}  // namespace skein::storage
