// A folder for the files of one bus, for tests; it goes with the object.
#ifndef SKEIN_BUS_TEMP_DIR_H_
#define SKEIN_BUS_TEMP_DIR_H_

#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "glog/logging.h"
#include "gtest/gtest.h"

namespace skein::bus {

class TempDir {
 public:
  TempDir() {
    std::string name = ::testing::TempDir() + "/bus-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDir() {
    for (const char* file : {"/nodes.conf", "/nodes.conf.new", "/nodes.conf.lock"}) unlink((path_ + file).c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace skein::bus

#endif  // SKEIN_BUS_TEMP_DIR_H_
