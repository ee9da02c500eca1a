// What a replica does with the records of its primary.
#ifndef SKEIN_STORAGE_FOLLOW_H_
#define SKEIN_STORAGE_FOLLOW_H_

#include <string_view>

#include "absl/status/status.h"
#include "storage/shard.h"

namespace skein::storage {

// Applies whole records, the first of which starts at the end of the shard's log, and appends them to it, byte for
// byte. A record that cannot be applied is DataLoss, a piece that is not whole records in order InvalidArgument: what
// stood before it has been applied and appended, it has not. FailedPrecondition: the shard has no log. Whether there is
// room is Shard::MayWrite's to say, before. The shard's thread, outside of brackets; Kick is the caller's.
absl::Status FollowRecords(Shard* shard, std::string_view records);

}  // namespace skein::storage

#endif  // SKEIN_STORAGE_FOLLOW_H_
