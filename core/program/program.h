// What every program's main does: parse the command line, print one line on bad input.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace tessera {

// Declares options on `app`, parses, runs `body` and returns the exit status: 0, or 1 after one
// line on stderr
// ("NAME: what is wrong") for bad arguments and every exception. `--help` prints the help and
// returns 0.
int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& body);

}  // namespace tessera
