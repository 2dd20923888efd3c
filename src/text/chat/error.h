// How the parts of the template engine fail: a private exception, because an error may arise many
// frames deep in an expression. It never leaves ChatTemplate, which turns it into a Result.
#pragma once

#include <stdexcept>
#include <string>

namespace tessera::chat {

// The message is a sentence without the line; who catches it knows the line.
class TemplateError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A syntax error carries its own line, since nothing is being executed yet.
class SyntaxError : public TemplateError {
 public:
  SyntaxError(int line, const std::string& message) : TemplateError(message), line_(line) {}
  int line() const { return line_; }

 private:
  int line_;
};

[[noreturn]] inline void Fail(const std::string& message) { throw TemplateError(message); }

}  // namespace tessera::chat
