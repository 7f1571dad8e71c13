// Ctrl-C and SIGTERM as a question that can be asked at any time.
// The second signal ends the program at once; what it leaves is cleaned by the next run (case_folder.h).
#pragma once

namespace sat::cli {

void watch_for_interrupts();  // once, from the main thread
bool interrupted();

}  // namespace sat::cli
