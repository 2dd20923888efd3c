#include "text/chat/callable.h"

#include "text/chat/error.h"

namespace tessera::chat {

BoundArguments::BoundArguments(std::string function, const Arguments& arguments,
                               std::initializer_list<const char*> names, size_t required)
    : function_(std::move(function)), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names.size()) {
    Fail(function_ + "() takes at most " + std::to_string(names.size()) + " arguments, got " +
         std::to_string(arguments.positional.size()) + ".");
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keywords) {
    size_t index = 0;
    while (index < names.size() && name != names.begin()[index]) ++index;
    if (index == names.size()) Fail(function_ + "() has no argument named '" + name + "'.");
    if (values_[index] != nullptr) Fail(function_ + "() got '" + name + "' twice.");
    values_[index] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i] == nullptr)
      Fail(function_ + "() needs the argument '" + names.begin()[i] + "'.");
  }
}

int64_t BoundArguments::Integer(size_t index, int64_t fallback) const {
  if (values_[index] == nullptr) return fallback;
  if (!values_[index]->IsInteger()) {
    Fail(function_ + "() needs an integer, got a value of type " + values_[index]->TypeName() +
         ".");
  }
  return values_[index]->integer();
}

bool BoundArguments::Flag(size_t index, bool fallback) const {
  return values_[index] == nullptr ? fallback : values_[index]->IsTruthy();
}

std::string BoundArguments::Text(size_t index, const std::string& fallback) const {
  if (values_[index] == nullptr) return fallback;
  if (!values_[index]->IsText()) {
    Fail(function_ + "() needs a string, got a value of type " + values_[index]->TypeName() + ".");
  }
  return values_[index]->text();
}

Value MakeFunction(std::string name, Callable::Function function, int depth) {
  return Value(std::make_shared<const Callable>(std::move(name), std::move(function), depth));
}

}  // namespace tessera::chat
