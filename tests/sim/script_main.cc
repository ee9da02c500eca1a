// script FILE...: runs each script and writes it back with the answers as they are now, to be read in a diff.
#include <cstdio>
#include <fstream>
#include <sstream>

#include "tests/sim/script.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::ifstream in(argv[i]);
    std::stringstream text;
    text << in.rdbuf();
    if (!in || text.str().empty()) {
      std::fprintf(stderr, "%s: cannot be read, or empty\n", argv[i]);
      return 1;
    }
    std::string now = skein::sim::RunScript(text.str());
    std::ofstream(argv[i]) << now;
  }
  return 0;
}
