// Text scripts that drive a simulated cluster and hold what it answered: scenario tests that read like a transcript.
//
// A script is a list of steps. A step is one line; if it answers, a line "----" and the answer follow, up to an empty
// line. "#" begins a comment. Node ids are shown as n0, n1, ... in the order in which the nodes were made.
//
//   timeout MS | coverage yes|no | seed N        before `nodes`
//   nodes N                                      makes N nodes
//   run MS | crash nA | restart nA | move nA (restart with another address) | wipe nA (and without its disk)
//   freeze nA | thaw nA | stall nA | unstall nA | cut nA nB (one way) | part nA nB | heal
//   writes N (a second by each primary that may) | data (how many were written, and lost by promotions)
//   skew nA OFFSET PPM                           its clock: milliseconds ahead, and how much faster
//   agree MS                                     waits until all that are up agree and all is ok; says so, or what not
//   view nA                                      what nA believes: a line for its state, one a node
//   notes                                        what the nodes noted since the last `notes`
//   nA meet nB | addslots R... | delslots R... | flushslots | setslot S migrating|importing|node nB | setslot S stable
//      bumpepoch | set-config-epoch N | saveconfig | count-failure-reports nB | forget nB | reset soft|hard
//      replicate nB | failover [force|takeover]
#ifndef SKEIN_TESTS_SIM_SCRIPT_H_
#define SKEIN_TESTS_SIM_SCRIPT_H_

#include <string>

namespace skein::sim {

// Runs `script` and returns it with the answers as they are now.
std::string RunScript(const std::string& script);

}  // namespace skein::sim

#endif  // SKEIN_TESTS_SIM_SCRIPT_H_
