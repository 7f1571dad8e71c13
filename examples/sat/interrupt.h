// Ctrl-C, SIGTERM and SIGHUP: what they do to the program, and whether one has come.
// A signal that was ignored when the program started (nohup, a job in the background) stays ignored.
#pragma once

#include <string>

namespace sat::cli {

/// From now on such a signal ends the program at once, with status 128 + its number: for as long as nothing
/// lies on disk that would have to be removed. `last_words` go to stdout then, if there are any.
void end_when_interrupted(const std::string& last_words);

/// From now on such a signal only makes interrupted() true, and the work stops soon and cleans up. The second signal
/// ends the program at once; what it leaves is cleaned by the next run (case_folder.h).
void watch_for_interrupts();
bool interrupted();

/// 128 + the number of the signal that came; that of SIGINT where none did.
int interrupted_status();

}  // namespace sat::cli
