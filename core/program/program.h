// What every program's main does: parse the command line, print one line on bad input.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace tessera {

// Parses, runs `body` and returns the exit status: 0, or 1 after one line on stderr
// ("NAME: what is wrong") for bad arguments, every exception, and standard output that could not be
// written. `--help` prints the help instead.
int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& body);

}  // namespace tessera
