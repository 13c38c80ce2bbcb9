#include "core/program/program.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>

namespace tessera {

int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  try {
    app.parse(argc, argv);
    body();
    return 0;
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "{0}: {1} (see {0} --help)\n", app.get_name(), error.what());
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", app.get_name(), error.what());
  }
  return 1;
}

}  // namespace tessera
