#include "ops/aof_tool/tool.h"

namespace skein::ops {

std::string Message(const absl::Status& status) { return std::string(status.message()); }

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kOk;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kInvalidArgument:
      return kRefused;
    default:
      return kFailed;
  }
}

int Fail(const Tool& tool, const absl::Status& status) {
  tool.console->Err("ops/aof: " + std::string(status.message()) + "\n");
  return ExitCode(status);
}

}  // namespace skein::ops
