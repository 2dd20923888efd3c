// Result<T>: what a function returns when a user, a file or a machine can make it fail.
//
//   Result<Config> LoadConfig(const std::string& path);
//
//   TESSERA_ASSIGN_OR_RETURN(Config config, LoadConfig(path));   // inside a function that returns
//   a Result if (auto config = LoadConfig(path); !config.ok()) Print(config.error().message);
//
// An error's message is one sentence for the user: what is wrong, why, and what to change.
// Programmer errors do not travel through Result: TESSERA_CHECK stops the program with its reason.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace tessera {

enum class ErrorCode {
  kInvalidArgument,  // a value the caller gave is out of range or contradicts another
  kNotFound,         // a file, a name or a tensor is missing
  kUnsupported,      // well-formed, but nothing here can do it
  kCorrupt,          // foreign bytes that break their own format
  kOutOfMemory,      // does not fit; the message names the amount that would
  kIo,               // the operating system refused
  kInternal,
};

// The code in words, as "not found".
const char* ToString(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

inline Error InvalidArgument(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}
inline Error NotFound(std::string message) { return {ErrorCode::kNotFound, std::move(message)}; }
inline Error Unsupported(std::string message) {
  return {ErrorCode::kUnsupported, std::move(message)};
}
inline Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }
inline Error OutOfMemory(std::string message) {
  return {ErrorCode::kOutOfMemory, std::move(message)};
}
inline Error IoError(std::string message) { return {ErrorCode::kIo, std::move(message)}; }
inline Error Internal(std::string message) { return {ErrorCode::kInternal, std::move(message)}; }

// Stops the program: a broken promise between parts of the program, never bad input.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const std::string& detail);

#define TESSERA_CHECK(condition, ...)                                                   \
  do {                                                                                  \
    if (!(condition)) [[unlikely]]                                                      \
      ::tessera::CheckFailed(__FILE__, __LINE__, #condition, std::string{__VA_ARGS__}); \
  } while (false)

template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit, so that `return value;` reads well. NOLINTBEGIN(google-explicit-constructor)
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // a value: ok() holds from now on
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // none: error() may be asked now
  // NOLINTEND(google-explicit-constructor)
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // The value may be taken only if ok() holds.
  T& value() & { return Get(); }
  const T& value() const& { return const_cast<Result*>(this)->Get(); }
  T&& value() && { return std::move(Get()); }
  T& operator*() & { return Get(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &Get(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    TESSERA_CHECK(!ok(), "error() of a Result that holds a value");
    return std::get<1>(state_);
  }

 private:
  T& Get() {
    TESSERA_CHECK(ok(), "value() of a Result that holds an error: " + std::get<1>(state_).message);
    return std::get<0>(state_);
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    TESSERA_CHECK(error_.has_value(), "error() of a Result that holds no error");
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

#define TESSERA_CONCAT_INNER(a, b) a##b
#define TESSERA_CONCAT(a, b) TESSERA_CONCAT_INNER(a, b)

// Returns the error from the enclosing function, or continues.
#define TESSERA_RETURN_IF_ERROR(expression)           \
  do {                                                \
    if (auto status_ = (expression); !status_.ok()) { \
      return status_.error();                         \
    }                                                 \
  } while (false)

#define TESSERA_ASSIGN_OR_RETURN(declaration, expression) \
  TESSERA_ASSIGN_OR_RETURN_INNER(TESSERA_CONCAT(result_, __LINE__), declaration, expression)
#define TESSERA_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                           \
  if (!temporary.ok()) return temporary.error();                           \
  declaration = std::move(temporary).value()

}  // namespace tessera
