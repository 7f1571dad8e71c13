// Ctrl-C, SIGTERM and SIGHUP: what they do to the program, and as a question that can be asked at any time.
// A signal that was ignored when the program started (nohup, a job in the background) stays ignored.
#pragma once

#include <string>

namespace sat::cli {

/// From now on such a signal ends the program at once, with status 128 + its number: for all the time in which nothing
/// lies on disk that would have to be removed. `last_words` go to stdout then, if there are any.
void end_when_interrupted(const std::string& last_words);

/// From now on it only answers interrupted() with true, and whoever works stops soon and cleans up. The second signal
/// ends the program at once; what it leaves is cleaned by the next run (case_folder.h).
void watch_for_interrupts();
bool interrupted();

/// 128 + the number of the signal that came; that of SIGINT where none did.
int interrupted_status();

}  // namespace sat::cli
