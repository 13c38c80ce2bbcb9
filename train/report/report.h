// report.html: a run on one page that needs nothing but a browser.
#pragma once

#include <filesystem>
#include <string>

namespace tessera {

// Writes `run_folder`/report.html, whole or not at all, from its config.yaml and metrics.jsonl:
// what was reached, curves over the steps, memory by tag, the configuration. A line of
// metrics.jsonl that is no record is passed over. Error where a file cannot be read or written.
void write_report(const std::filesystem::path& run_folder, const std::string& title);

}  // namespace tessera
