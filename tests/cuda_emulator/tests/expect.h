// What the emulator's tests expect: something that holds, or a report of a process that aborts.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>

inline int failures = 0;

template <class... Words>
void expect(bool holds, const Words&... words) {
  if (holds) return;
  std::cout << "FAILED: ";
  (std::cout << ... << words) << std::endl;
  ++failures;
}

// Runs `body` in a child process, which must abort and say `message`.
inline void expect_report(const char* name, const std::string& message, const std::function<void()>& body) {
  std::fflush(nullptr);
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    body();
    _exit(0);
  }
  close(ends[1]);
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  const bool died = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  expect(died && said.find(message) != std::string::npos, name, ": expected a report with '", message, "', got '", said,
         "'");
}
