// The forms of JSON: strings, lists, objects, any value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/expression.h"

namespace tessera::grammar {

// White space is bounded, so that no model can continue with it for ever: a space after ',' and
// ':', or a line break and up to 24 spaces wherever a list or an object may be broken.
class JsonText {
 public:
  // `pool` outlives this.
  explicit JsonText(ExpressionPool* pool);

  ExprId Gap() const { return gap_; }  // between a bracket and what is inside
  ExprId Comma() const { return comma_; }
  ExprId Colon() const { return colon_; }

  // A string of `min` to `max` characters (kUnbounded), with all escapes that JSON has.
  ExprId String(int32_t min, int32_t max);
  // What stands in it.
  ExprId Characters(int32_t min, int32_t max);
  // A string whose text, as it stands between the quotation marks, is `inner`.
  ExprId Quoted(ExprId inner);
  // The name of a member: a string without escapes and none of `except`.
  ExprId NameExcept(std::vector<std::string> except);

  ExprId Member(ExprId name, ExprId value);
  // `item`, from min to max times, in brackets.
  ExprId List(ExprId item, int32_t min, int32_t max);
  // min to max (kUnbounded) of the items, in any order; 2^items expressions.
  ExprId ListOfDistinct(const std::vector<ExprId>& items, int32_t min, int32_t max);
  // `inner` may be the empty text.
  ExprId InBrackets(char open, ExprId inner, char close);

  // Any value, and any object.
  ExprId Any();
  ExprId AnyObject();

 private:
  void DefineAny();

  ExpressionPool* const pool_;
  ExprId gap_, comma_, colon_, character_;
  ExprId any_ = kNothing;  // the rule, once it is there
  ExprId any_object_ = kNothing;
};

}  // namespace tessera::grammar
