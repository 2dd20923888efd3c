#include "cli/bench/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tessera::svg {

std::string Begin(double width, double height) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"white\"/>\n",
      width, height);
}

std::string Escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Text(double x, double y, const std::string& text, const char* anchor,
                 const char* colour) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"{}\">{}</text>\n",
                     x, y, anchor, colour, Escaped(text));
}

std::string Line(double x1, double y1, double x2, double y2, const char* style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1,
                     x2, y2, style);
}

LogAxis::LogAxis(double smallest, double largest, double begin, double end)
    : low_(std::floor(std::log10(smallest))),
      high_(std::max(low_ + 1, std::ceil(std::log10(largest)))),
      begin_(begin),
      end_(end) {}

double LogAxis::operator()(double value) const {
  return begin_ + (std::log10(value) - low_) / (high_ - low_) * (end_ - begin_);
}

}  // namespace tessera::svg
