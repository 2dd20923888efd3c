// Pieces of a drawing as SVG: text, lines, logarithmic axes.
#pragma once

#include <array>
#include <string>

namespace tessera::svg {

inline constexpr std::array kColours = {"#1b6ca8", "#c8553d", "#3a7d44",
                                        "#7b4fa3", "#b38600", "#555555"};
inline constexpr const char* kGrid = "stroke=\"#ddd\"";

// What a drawing begins with, on white; "</svg>" ends it. Pixels.
std::string Begin(double width, double height);

std::string Escaped(const std::string& text);
std::string Text(double x, double y, const std::string& text, const char* anchor = "start",
                 const char* colour = "#222");
std::string Line(double x1, double y1, double x2, double y2, const char* style);

// A logarithmic axis whose ends are powers of ten: from value to pixel.
class LogAxis {
 public:
  // Of values from `smallest` to `largest`, both positive, to pixels from `begin` to `end`.
  LogAxis(double smallest, double largest, double begin, double end);
  double operator()(double value) const;

  double begin() const { return begin_; }
  double end() const { return end_; }
  // Powers of ten: the first and the last tick.
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  double low_, high_, begin_, end_;
};

}  // namespace tessera::svg
