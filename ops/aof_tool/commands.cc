#include "ops/aof_tool/commands.h"

#include <algorithm>

#include "ops/aof_tool/arguments.h"

namespace skein::ops {

std::span<const Command> Commands() {
  static const std::vector<Command> commands = {
      {"inspect",
       "what is there: shards, files, LSNs, reigns, records, times",
       "Shows what stands in the folder: for each shard its files with their LSNs, sizes and times, how many records\n"
       "of each kind they hold, the reigns of its history, what is known to be on disk, and a torn tail if there is\n"
       "one. Changes nothing and takes no lock. Exit code 2 if starting would refuse the folder. Instead of the folder "
       "it\n"
       "takes one file by itself, such as the records that a node kept aside when another became primary.\n",
       {},
       {"ops/aof inspect /var/lib/skein", "ops/aof inspect /var/lib/skein --json"},
       Inspect},
      {"verify",
       "checks every byte that a start checks",
       "Reads all files and checks what starting checks, every record's effects included. Exit code 0 if a node would\n"
       "start on the folder (a torn tail is reported: the start cuts it), 2 with the reason if it would refuse. What\n"
       "hangs on the node's settings (storage-shards, databases) skein-node --check-config checks. Changes nothing "
       "and\n"
       "takes no lock.\n",
       {},
       {"ops/aof verify /var/lib/skein", "ops/aof verify /var/lib/skein --json"},
       Verify},
      {"repair",
       "cuts a torn tail, after saying what goes; makes a lost manifest anew",
       "Cuts torn tails, and only those: says for each what would go and what stays, and asks. Damage before the end "
       "of\n"
       "a log is refused with the way out. If the manifest itself is damaged or gone and the files leave no choice "
       "about\n"
       "what it said, offers to make it anew; that is asked by itself, and the old one is kept as manifest.damaged.\n"
       "A node cuts a torn tail by itself when it starts: repair is for looking first.\n",
       {{"--yes", "", "cut without asking"},
        {"--rebuild-manifest", "", "make the manifest anew without asking"},
        {"--dry-run", "", "say what would be done, and do nothing"}},
       {"ops/aof repair /var/lib/skein --dry-run", "ops/aof repair /var/lib/skein --yes"},
       Repair},
      {"dump",
       "prints the log's effects, one a line",
       "Prints the effects in the log, one a line; effects with the same LSN are one record, applied all or not at "
       "all.\n"
       "A base shows as the commands that make its keys, at its LSN and time; records before its LSN are in it, and "
       "are\n"
       "shown when a filter leaves the base out.\n"
       "Filters combine. An effect on whole databases (FLUSHALL, FLUSHDB, SWAPDB) passes every slot and key filter.\n"
       "Times are RFC 3339, or seconds or milliseconds since 1970. Changes nothing and takes no lock. Instead of the\n"
       "folder it takes one file by itself, such as the records that a node kept aside when another became primary.\n",
       {{"--shard", "I", "this shard alone"},
        {"--slot", "N", "effects on keys of this slot"},
        {"--key", "PATTERN", "effects on keys that match, as KEYS matches: * ? [a-z] \\x"},
        {"--from-time", "TIME", "records of this time and later"},
        {"--to-time", "TIME", "records of this time and earlier"},
        {"--from-lsn", "LSN", "records that start here or later"},
        {"--to-lsn", "LSN", "records that end here or earlier"},
        {"--format", "FORM", "readable (the default), or resp: RESP text of one shard, for redis-cli --pipe"}},
       {"ops/aof dump /var/lib/skein --key 'user:*'",
        "ops/aof dump /var/lib/skein --from-time 2026-11-22T01:00:00Z --to-time 2026-11-22T01:05:00Z",
        "ops/aof dump /var/lib/skein --shard 0 --from-lsn 0 --to-lsn 4096 --json",
        "ops/aof dump /var/lib/skein --slot 5061 --format resp"},
       Dump},
      {"reshard",
       "changes the number of shards",
       "Makes a data set of another number of shards out of this one, in place, and keeps the old folder beside it; "
       "or\n"
       "into another dir, and leaves this one as it is. All of the data has to fit into memory. Killed at any point, "
       "the\n"
       "old data set is there or the new one. The new logs begin anew. Set storage-shards to the same number "
       "afterwards.\n",
       {{"--to", "N", "how many shards, 1 to 1024"}, {"--into", "DIR", "the dir of the new data set; made if need be"}},
       {"ops/aof reshard /var/lib/skein --to 4", "ops/aof reshard /var/lib/skein --to 1 --into /var/lib/skein-one"},
       Reshard},
      {"restore",
       "an earlier state, into a new folder",
       "Copies the data set as it was at a time, or at places in its logs, into another dir. The moment is included. "
       "As far\n"
       "back as the newest base of each shard; this data set is not changed.\n",
       {{"--to-time", "TIME", "everything logged at or before it, in every shard"},
        {"--to-lsn", "SHARD:LSN", "everything of the shard before it; shards that are not named are kept whole"},
        {"--into", "DIR", "the dir of the new data set; made if need be"}},
       {"ops/aof restore /var/lib/skein --to-time 2026-11-22T01:02:03Z --into /var/lib/skein-restored",
        "ops/aof restore /var/lib/skein --to-lsn 0:4096 --to-lsn 1:4096 --into /var/lib/skein-by-lsn"},
       Restore},
      {"export",
       "all data as one RDB file",
       "Writes all keys into one plain RDB file (version 10), for redis-server, Valkey, or a new node. All of the data "
       "has\n"
       "to fit into memory. With --salvage a damaged data set is read as far as it goes: of each shard everything "
       "before its\n"
       "first damage, and it is said what is left out.\n",
       {{"--rdb", "FILE", "the file to write; must not exist"},
        {"--no-compression", "", "strings as they are"},
        {"--salvage", "", "what stands before the damage"}},
       {"ops/aof export /var/lib/skein --rdb /var/lib/dump.rdb",
        "ops/aof export /var/lib/skein --rdb /var/lib/salvaged.rdb --salvage"},
       Export},
  };
  return commands;
}

namespace {

absl::Status Unknown(const std::string& name) {
  return absl::InvalidArgumentError("there is no command '" + name + "'; see ops/aof --help");
}

}  // namespace

int RunTool(const Tool& tool, const std::vector<std::string>& words) {
  if (words.empty()) {
    tool.console->Err(Help());
    return kRefused;
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    tool.console->Out(Help());
    return kOk;
  }
  const std::span<const Command> commands = Commands();
  const auto command =
      std::find_if(commands.begin(), commands.end(), [&](const Command& known) { return known.name == words[0]; });
  if (command == commands.end()) return Fail(tool, Unknown(words[0]));
  const absl::StatusOr<Arguments> arguments = Arguments::Parse(*command, {words.begin() + 1, words.end()});
  if (!arguments.ok()) return Fail(tool, arguments.status());
  if (arguments->help()) {
    tool.console->Out(HelpOf(*command));
    return kOk;
  }
  return command->run(tool, *arguments);
}

}  // namespace skein::ops
