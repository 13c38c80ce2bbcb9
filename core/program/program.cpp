#include "core/program/program.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string>

#include "core/check.h"

namespace tessera {
namespace {

void parse_and_run(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return;
  }
  body();
}

// What the buffer still holds would else be lost without a word; what was lost before shows too.
void check_output() {
  const bool written = std::fflush(stdout) == 0 && !std::ferror(stdout);
  check(written, "cannot write all of the output; is the disk full?");
}

// Unlike fmt::print, does not throw where nobody reads.
void complain(const std::string& line) {
  std::fputs(line.c_str(), stderr);
}

}  // namespace

int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  try {
    parse_and_run(app, argc, argv, body);
    check_output();
    return 0;
  } catch (const CLI::ParseError& error) {
    complain(fmt::format("{0}: {1} (see {0} --help)\n", app.get_name(), error.what()));
  } catch (const std::exception& error) {
    complain(fmt::format("{}: {}\n", app.get_name(), error.what()));
  }
  return 1;
}

}  // namespace tessera
